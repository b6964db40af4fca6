// SPDX-License-Identifier: Apache-2.0
#include "cli/rule_file.hpp"

#include <span>
#include <vector>

#include "cli/mark.hpp"
#include "cli/mark_text.hpp"
#include "cli/service_command.hpp"
#include "cli/snat.hpp"

namespace lb::cli {

ProgramResult load_rule(const std::string& line, wire::Transport& transport) {
  if (const auto start = line.find_first_not_of(" \t\r");
      start == std::string::npos || line[start] == '#') {
    return {};
  }
  const auto words = split_words(line);
  if (words && !words->empty() && words->front() == "service") {
    if (words->size() < 2 || (*words)[1] != "set") {
      return {
          .exit_status = 2, .out = {}, .err = "of `service' only `service set' can stand here\n"};
    }
    return run_service(std::span(*words).subspan(1), transport);
  }
  if (words && !words->empty() && words->front() == "snat") {
    if (words->size() < 2 || (*words)[1] != "add") {
      return {.exit_status = 2, .out = {}, .err = "of `snat' only `snat add' can stand here\n"};
    }
    return run_snat(std::span(*words).subspan(1), transport);
  }
  if (!words || words->empty() || words->front() != "mark") {
    return run_ipvsadm(std::vector<std::string>{"ipvsadm", "--restore"}, line, transport);
  }
  if (words->size() < 2 || (*words)[1] != "add") {
    return {.exit_status = 2, .out = {}, .err = "of `mark' only `mark add' can stand here\n"};
  }
  return run_mark(std::span(*words).subspan(1), {}, transport);
}

}  // namespace lb::cli
