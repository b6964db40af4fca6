// SPDX-License-Identifier: Apache-2.0
#include "realserver/journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>

namespace lb::realserver {
namespace {

using host::Outcome;
using host::system_trouble;
using host::trouble;
using nlohmann::json;

constexpr int kVersion = 1;
constexpr std::array<std::string_view, 3> kKinds{"sysctl", "address", "decap"};
constexpr std::array<std::string_view, 3> kXdpModes{"auto", "native", "generic"};

/// The place of `word` in `known`; throws as the JSON library does for anything else.
template <std::size_t N>
std::size_t place_of(const std::array<std::string_view, N>& known, const std::string& word) {
  for (std::size_t i = 0; i < N; ++i) {
    if (word == known[i]) return i;
  }
  throw std::invalid_argument(fmt::format("unknown word '{}'", word));
}

net::IpAddress address_of(const json& text) {
  const auto address = net::IpAddress::from_text(text.get<std::string>());
  if (!address) throw std::invalid_argument("not an address");
  return *address;
}

std::string header_line(const Journal::Origin& origin, const Setup& setup) {
  json vips = json::array();
  for (const auto& vip : setup.vips) vips.push_back(vip.to_text());
  json line{{"version", kVersion},
            {"boot", origin.boot},
            {"namespace", origin.network_namespace},
            {"mode", name_of(setup.mode)},
            {"vips", std::move(vips)},
            {"interfaces", setup.interfaces},
            {"xdp_mode", kXdpModes[static_cast<std::size_t>(setup.xdp_mode)]},
            {"gue_port", setup.gue_port}};
  if (setup.director) line["director"] = setup.director->to_text();
  return line.dump();
}

std::string change_line(const Change& change) {
  return json{{"change", kKinds[static_cast<std::size_t>(change.kind)]},
              {"what", change.what},
              {"before", change.before},
              {"after", change.after}}
      .dump();
}

Setup setup_of(const json& line) {
  Setup setup;
  const auto mode = mode_of(line.at("mode").get<std::string>());
  if (!mode) throw std::invalid_argument("unknown mode");
  setup.mode = *mode;
  for (const auto& vip : line.at("vips")) setup.vips.push_back(address_of(vip));
  setup.interfaces = line.at("interfaces").get<std::vector<std::string>>();
  if (line.contains("director")) setup.director = address_of(line.at("director"));
  setup.xdp_mode =
      static_cast<XdpMode>(place_of(kXdpModes, line.at("xdp_mode").get<std::string>()));
  setup.gue_port = line.at("gue_port").get<std::uint16_t>();
  return setup;
}

Change change_of(const json& line) {
  return {.kind = static_cast<Change::Kind>(place_of(kKinds, line.at("change").get<std::string>())),
          .what = line.at("what").get<std::string>(),
          .before = line.at("before").get<std::string>(),
          .after = line.at("after").get<std::string>()};
}

/// Writes all of `text` at `offset` and waits until it is on the disk.
Outcome<void> write_at(const std::filesystem::path& path, int flags, std::string_view text,
                       std::uintmax_t offset) {
  const auto what = fmt::format("cannot write {}", path.string());
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | flags, 0600);
  if (file < 0) return system_trouble(what, errno);
  // What a kill has left of a line goes first.
  bool is_fine = ::ftruncate(file, static_cast<off_t>(offset)) == 0;
  while (is_fine && !text.empty()) {
    const auto written = ::pwrite(file, text.data(), text.size(), static_cast<off_t>(offset));
    is_fine = written > 0;
    if (!is_fine) break;
    offset += static_cast<std::uintmax_t>(written);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  is_fine = is_fine && ::fsync(file) == 0;
  const int failed = errno;
  ::close(file);
  if (!is_fine) return system_trouble(what, failed);
  return {};
}

/// Makes what happened to names in the folder of `path` last.
Outcome<void> sync_folder(const std::filesystem::path& path) {
  const auto folder = path.parent_path();
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool is_fine = file >= 0 && ::fsync(file) == 0;
  const int failed = errno;
  if (file >= 0) ::close(file);
  if (!is_fine) return system_trouble(fmt::format("cannot write {}", folder.string()), failed);
  return {};
}

}  // namespace

Outcome<std::optional<Journal>> Journal::load(std::filesystem::path path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open() && errno == ENOENT) return std::optional<Journal>();
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) {
    return system_trouble(fmt::format("cannot read {}", path.string()), errno);
  }
  Journal journal;
  std::size_t number = 0;
  try {
    for (;;) {
      const auto end = text.find('\n', journal.size_);
      if (end == std::string::npos) break;  // a line that is cut off: its change did not begin
      ++number;
      const auto line = json::parse(text.substr(journal.size_, end - journal.size_));
      if (number == 1) {
        if (line.at("version").get<int>() != kVersion) {
          return trouble(fmt::format("{} is of another version of sluice", path.string()));
        }
        journal.origin_ = {.boot = line.at("boot").get<std::string>(),
                           .network_namespace = line.at("namespace").get<std::uint64_t>()};
        journal.setup_ = setup_of(line);
      } else if (line.contains("complete")) {
        journal.is_complete_ = true;
      } else {
        journal.changes_.push_back(change_of(line));
        journal.is_complete_ = false;
      }
      journal.size_ = end + 1;
    }
  } catch (const std::exception& error) {
    return trouble(
        fmt::format("{}:{}: not what sluice has written ({}); look at it, undo what it says by "
                    "hand, and remove it",
                    path.string(), number, error.what()));
  }
  // A kill before the first line was whole: nothing was changed.
  if (number == 0) return std::optional<Journal>();
  journal.path_ = std::move(path);
  return std::optional<Journal>(std::move(journal));
}

Outcome<Journal> Journal::create(std::filesystem::path path, Origin origin, Setup setup) {
  std::error_code failed;
  std::filesystem::create_directories(path.parent_path(), failed);
  if (failed) {
    return system_trouble(fmt::format("cannot make {}", path.parent_path().string()),
                          failed.value());
  }
  const auto line = header_line(origin, setup) + '\n';
  if (auto done = write_at(path, O_CREAT | O_TRUNC, line, 0); !done) return trouble(done.error());
  if (auto done = sync_folder(path); !done) return trouble(done.error());
  Journal journal;
  journal.path_ = std::move(path);
  journal.size_ = line.size();
  journal.origin_ = std::move(origin);
  journal.setup_ = std::move(setup);
  return journal;
}

Outcome<void> Journal::append_line(const std::string& line) {
  if (auto done = write_at(path_, 0, line + '\n', size_); !done) return done;
  size_ += line.size() + 1;
  return {};
}

Outcome<void> Journal::append(const Change& change) {
  if (auto done = append_line(change_line(change)); !done) return done;
  changes_.push_back(change);
  is_complete_ = false;
  return {};
}

Outcome<void> Journal::complete() {
  if (is_complete_) return {};
  if (auto done = append_line(json{{"complete", true}}.dump()); !done) return done;
  is_complete_ = true;
  return {};
}

Outcome<void> Journal::remove() const {
  if (::unlink(path_.c_str()) != 0 && errno != ENOENT) {
    return system_trouble(fmt::format("cannot remove {}", path_.string()), errno);
  }
  return sync_folder(path_);
}

}  // namespace lb::realserver
