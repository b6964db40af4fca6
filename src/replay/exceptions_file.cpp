// SPDX-License-Identifier: Apache-2.0
#include "replay/exceptions_file.hpp"

#include <fstream>
#include <iterator>

namespace lb::replay {

tl::expected<Exceptions, FileError> parse_exceptions(std::string_view text,
                                                     const std::string& name) {
  constexpr std::string_view kBlank = " \t\r";
  Exceptions exceptions;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    const auto line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    const auto first = line.find_first_not_of(kBlank);
    if (first == std::string_view::npos || line[first] == '#') continue;
    const auto blank = line.find_first_of(kBlank, first);
    const auto reason = blank == std::string_view::npos ? std::string_view::npos
                                                        : line.find_first_not_of(kBlank, blank);
    if (reason == std::string_view::npos) {
      return tl::unexpected(FileError{name, number, "a case without a reason"});
    }
    const std::string id(line.substr(first, blank - first));
    if (!exceptions.emplace(id, line.substr(reason)).second) {
      return tl::unexpected(FileError{name, number, id + " is listed twice"});
    }
  }
  return exceptions;
}

tl::expected<Exceptions, FileError> load_exceptions(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return tl::unexpected(FileError{path, 0, "cannot be opened"});
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.bad()) return tl::unexpected(FileError{path, 0, "cannot be read"});
  return parse_exceptions(text, path);
}

}  // namespace lb::replay
