// SPDX-License-Identifier: Apache-2.0
// The mark rules of a firewall: the first byte says whether the rest is text of iptables-save (bit
// 1: of ip6tables-save) or JSON of `nft -j`. Every rule taken makes sense, a director takes it,
// and it is the same again after it was written down and read.
#include <string_view>

#include "cli/mark_import.hpp"
#include "cli/mark_text.hpp"
#include "fuzz/director_world.hpp"
#include "fuzz/input.hpp"
#include "net/bytes.hpp"

namespace lb::fuzz {
namespace {

void check(const model::MarkRule& rule, engine::Director& director) {
  expect(model::is_valid(rule), "rules make sense");
  expect(director.add_mark_rule(rule).has_value(), "rules can be added");
  const auto text = cli::mark_rule_text(rule);
  const auto words = cli::split_words(text);
  expect(words.has_value(), "rules can be split into words: " + text);
  const auto again = cli::parse_mark_rule(*words);
  expect(again.has_value(), "rules can be read again: " + text);
  expect(*again == rule, "rules are the same again: " + text);
}

}  // namespace
}  // namespace lb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lb;  // NOLINT(google-build-using-namespace)
  fuzz::Input input(data, size);
  const unsigned kind = input.byte();
  const auto text = net::as_text(input.rest());
  const auto family = (kind & 2U) != 0 ? std::optional(net::Family::kIpv6) : std::nullopt;
  const auto import = (kind & 1U) != 0 ? cli::import_nft(text) : cli::import_iptables(text, family);
  if (!import) {
    fuzz::expect(!import.error().empty(), "an error says what is wrong");
    return 0;
  }
  auto& world = fuzz::serve<fuzz::DirectorWorld>(16U);
  for (const auto& rule : import->rules) fuzz::check(rule, world.director);
  for (const auto& refused : import->refused) {
    fuzz::expect(!refused.reason.empty() && !refused.where.empty(), "a refusal says why");
  }
  world.director.flush_mark_rules();
  return 0;
}
