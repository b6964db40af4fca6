// SPDX-License-Identifier: Apache-2.0
#include "cli/run.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

namespace lb::cli {
namespace {

constexpr int kWrongUsage = 2;
constexpr int kNotTried = 125;
constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;
constexpr const char* kVariable = "LD_PRELOAD";
constexpr std::string_view kLibrary = "libsluice-ipvs.so";

/// The library that belongs to this program, seen from the folder that the program is in: as built,
/// then as installed.
std::filesystem::path find_library() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return {};
  const auto prefix = program.parent_path().parent_path();
  for (const auto* folder : {"lib", SLUICE_LIBRARY_FOLDER, "lib/sluice"}) {
    auto library = prefix / folder / kLibrary;
    if (std::filesystem::exists(library, error)) return library;
  }
  return {};
}

int fail(int status, const std::string& message) {
  fmt::print(stderr, "sluice: {}\n", message);
  return status;
}

}  // namespace

int run_with_library(std::span<const std::string> arguments) {
  if (!arguments.empty() && arguments.front() == "--") arguments = arguments.subspan(1);
  if (arguments.empty()) {
    return fail(kWrongUsage, "`sluice run' needs a command, as in `sluice run -- keepalived -n'");
  }
  const auto library = find_library().string();
  if (library.empty()) {
    return fail(kNotTried,
                fmt::format("{} is not beside this program; is the package whole?", kLibrary));
  }
  // What is preloaded already comes behind: it need not know of sluiced.
  const char* before = std::getenv(kVariable);
  const auto all = before == nullptr || *before == '\0' ? library : library + ":" + before;
  if (::setenv(kVariable, all.c_str(), 1) != 0) return fail(kNotTried, std::strerror(errno));

  std::vector<char*> words;
  words.reserve(arguments.size() + 1);
  // execvp() takes them as not const, and does not write to them.
  for (const auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  ::execvp(words.front(), words.data());
  const int error = errno;
  return fail(error == ENOENT ? kNotFound : kNotExecutable,
              fmt::format("cannot run {}: {}", arguments.front(), std::strerror(error)));
}

}  // namespace lb::cli
