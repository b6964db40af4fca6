// SPDX-License-Identifier: Apache-2.0
// ipvs-replay: plays recorded cases of the kernel's IPVS to the engine.
#include <fmt/format.h>
#include <getopt.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "replay/case_file.hpp"
#include "replay/case_text.hpp"
#include "replay/exceptions_file.hpp"
#include "replay/runner.hpp"

namespace {

constexpr int kExitDiffers = 1;
constexpr int kExitUsage = 2;
constexpr std::size_t kShownWidth = 600;  // of what was expected or got, without --verbose

constexpr const char* kUsage =
    "usage: ipvs-replay [OPTION]... FILE-OR-DIRECTORY...\n"
    "Plays cases to the engine and compares: recorded ones of the kernel's IPVS (*.jsonl), and\n"
    "ones written by hand (*.case).\n"
    "  --exceptions FILE  cases that are known to fail: `case-id  reason`, one a line\n"
    "  --list-failures    print only the ids of cases that fail\n"
    "  --verbose          print every difference in full, and what passes by tolerance\n"
    "  --print-recorded   print text cases in the form of recorded ones, instead\n"
    "  --help, --version\n";

struct Options {
  bool verbose = false;
  bool list_failures = false;
  bool has_exceptions = false;
  bool print_recorded = false;
  lb::replay::Exceptions exceptions;
  std::vector<std::string> paths;
};

struct Totals {
  std::size_t passed = 0;
  std::size_t failed = 0;
  std::size_t excepted = 0;
};

bool is_text_case(const std::string& path) { return path.ends_with(".case"); }

tl::expected<lb::replay::Case, lb::replay::FileError> load(const std::string& path) {
  return is_text_case(path) ? lb::replay::load_text_case(path) : lb::replay::load_case(path);
}

/// Prints text cases in the form of recorded ones; the exit status.
int print_recorded_form(const std::vector<std::string>& files) {
  for (const auto& file : files) {
    const auto text_case = load(file);
    if (!text_case) {
      fmt::print(stderr, "{}\n", text_case.error().to_text());
      return kExitDiffers;
    }
    fmt::print("{}", lb::replay::to_recorded_form(*text_case));
  }
  return 0;
}

/// Adds `path`, or the cases below it in the order of their names; false if it is not there.
bool add_cases(const std::string& path, std::vector<std::string>& files) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    files.push_back(path);
    return fs::exists(path, error);
  }
  std::vector<std::string> found;
  for (fs::recursive_directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    const auto extension = it->path().extension();
    if (extension == ".jsonl" || extension == ".case") found.push_back(it->path().string());
  }
  std::sort(found.begin(), found.end());
  files.insert(files.end(), found.begin(), found.end());
  return !error;
}

/// On one line, since every case that differs is one line of output.
std::string shown(const std::string& text, bool verbose) {
  std::string line;
  for (const char c : text) {
    if (c == '\n') {
      line += "\\n";
    } else {
      line += c;
    }
  }
  return verbose || line.size() <= kShownWidth ? line : line.substr(0, kShownWidth) + "...";
}

void print_differences(const lb::replay::CaseResult& result, bool verbose) {
  const std::size_t count = verbose ? result.differences.size() : 1;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& difference = result.differences[i];
    fmt::print("{}: line {} {}: expected {}; got {}", result.id, difference.line,
               shown(difference.step, true), shown(difference.expected, verbose),
               shown(difference.got, verbose));
    const auto more = result.differences.size() - count;
    fmt::print("{}\n", more == 0 ? std::string() : fmt::format(" (and {} more)", more));
  }
}

void judge(const lb::replay::CaseResult& result, const Options& options, Totals& totals) {
  const auto exception = options.exceptions.find(result.id);
  const bool listed = exception != options.exceptions.end();
  const bool failed = result.passed() == listed;
  if (options.verbose) {
    for (const auto& remark : result.remarks) fmt::print("{}: {}\n", result.id, remark);
  }
  if (result.passed()) {
    ++(listed ? totals.failed : totals.passed);
  } else {
    ++(listed ? totals.excepted : totals.failed);
  }
  if (options.list_failures) {
    if (failed) fmt::print("{}\n", result.id);
  } else if (result.passed() && listed) {
    fmt::print("{}: passes but is listed: remove it\n", result.id);
  } else if (!result.passed() && (failed || options.verbose)) {
    print_differences(result, options.verbose);
  }
}

/// Reads the command line; a number is the status to exit with at once.
std::optional<int> read_options(int argc, char** argv, Options& options) {
  const std::array<option, 7> known{{{"exceptions", required_argument, nullptr, 'e'},
                                     {"list-failures", no_argument, nullptr, 'l'},
                                     {"verbose", no_argument, nullptr, 'v'},
                                     {"print-recorded", no_argument, nullptr, 'p'},
                                     {"help", no_argument, nullptr, 'h'},
                                     {"version", no_argument, nullptr, 'V'},
                                     {}}};
  for (int c = 0; (c = getopt_long(argc, argv, "", known.data(), nullptr)) != -1;) {
    if (c == 'e') {
      auto exceptions = lb::replay::load_exceptions(optarg);
      if (!exceptions) {
        fmt::print(stderr, "ipvs-replay: {}\n", exceptions.error().to_text());
        return kExitUsage;
      }
      options.exceptions = *std::move(exceptions);
      options.has_exceptions = true;
    } else if (c == 'l') {
      options.list_failures = true;
    } else if (c == 'p') {
      options.print_recorded = true;
    } else if (c == 'v') {
      options.verbose = true;
    } else if (c == 'h') {
      fmt::print("{}", kUsage);
      return 0;
    } else if (c == 'V') {
      fmt::print("ipvs-replay {}\n", SLUICE_VERSION);
      return 0;
    } else {
      fmt::print(stderr, "{}", kUsage);
      return kExitUsage;
    }
  }
  options.paths.assign(argv + optind, argv + argc);
  if (!options.paths.empty()) return std::nullopt;
  fmt::print(stderr, "{}", kUsage);
  return kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (const auto status = read_options(argc, argv, options)) return *status;
  std::vector<std::string> files;
  for (const auto& path : options.paths) {
    if (!add_cases(path, files)) {
      fmt::print(stderr, "ipvs-replay: {}: cannot be read\n", path);
      return kExitUsage;
    }
  }
  if (options.print_recorded) return print_recorded_form(files);
  Totals totals;
  for (const auto& file : files) {
    const auto recorded = load(file);
    if (!recorded) {
      fmt::print("{}\n", recorded.error().to_text());
      ++totals.failed;
      continue;
    }
    judge(lb::replay::run_case(*recorded), options, totals);
    std::fflush(stdout);
  }
  if (!options.list_failures) {
    fmt::print("{} passed, {} failed", totals.passed, totals.failed);
    if (options.has_exceptions) fmt::print(", {} excepted", totals.excepted);
    fmt::print("\n");
  }
  return totals.failed == 0 && totals.passed + totals.excepted > 0 ? 0 : kExitDiffers;
}
