// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "cli/option_reader.hpp"

namespace lb::cli {
namespace {

bool read_all(FILE* stream, std::string& text) {
  std::array<char, 65536> block{};
  std::size_t size = 0;
  while ((size = std::fread(block.data(), 1, block.size(), stream)) > 0) {
    text.append(block.data(), size);
  }
  return std::ferror(stream) == 0;
}

}  // namespace

bool reads_rules(std::span<const std::string> arguments) {
  return arguments.size() > 1 && OptionReader(arguments).next() == 'R';
}

std::string read_standard_input() {
  std::string text;
  read_all(stdin, text);
  return text;
}

tl::expected<std::string, std::string> read_input(const std::string& file) {
  if (file.empty()) return read_standard_input();
  const auto fail = [&] { return tl::unexpected(file + ": " + std::strerror(errno)); };
  const std::unique_ptr<FILE, int (*)(FILE*)> stream(std::fopen(file.c_str(), "re"), &std::fclose);
  if (stream == nullptr) return fail();
  std::string text;
  if (!read_all(stream.get(), text)) return fail();
  return text;
}

int leave(const ProgramResult& result) {
  const bool written =
      std::fwrite(result.out.data(), 1, result.out.size(), stdout) == result.out.size() &&
      std::fflush(stdout) == 0;
  std::fwrite(result.err.data(), 1, result.err.size(), stderr);
  if (!written) std::perror("standard output");
  return written || result.exit_status != 0 ? result.exit_status : 1;
}

}  // namespace lb::cli
