// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "cli/mark_import.hpp"
#include "cli/nft_rule.hpp"

namespace lb::cli {
namespace {

using nft::Json;
using nft::member;
using nft::text_of;

// Real rule sets nest less than twenty deep. Deeper ones would be a danger to functions that
// call themselves.
constexpr int kMaxNesting = 64;
constexpr std::size_t kMaxRuleText = 400;

bool is_too_deep(std::string_view text) {
  int depth = 0;
  bool is_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_string) {
      if (c == '\\') ++i;
      if (c == '"') is_string = false;
    } else if (c == '"') {
      is_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxNesting) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

/// A chain with what matters of it.
struct Chain {
  std::string family, table, name;
  std::string hook{};
  std::int64_t priority = 0;
  std::vector<const Json*> rules{};  ///< in order
  bool has_marks = false;

  [[nodiscard]] bool is_taken() const {
    return hook == "prerouting" && (family == "ip" || family == "ip6" || family == "inet");
  }
};

class NftImport {
 public:
  explicit NftImport(const Json& objects) { collect(objects); }

  MarkImport take() {
    std::stable_sort(chains_.begin(), chains_.end(),
                     [](const Chain& a, const Chain& b) { return a.priority < b.priority; });
    for (const auto& chain : chains_) {
      if (!chain.has_marks) continue;
      for (const auto* rule : chain.rules) read(chain, *rule);
    }
    return std::move(import_);
  }

 private:
  using Key = std::array<std::string, 3>;
  static Key key_of(const Json& object, std::string_view name) {
    return {text_of(object, "family"), text_of(object, "table"), text_of(object, name)};
  }

  void collect(const Json& objects) {
    std::map<Key, std::size_t> index;
    const auto chain_of = [&](const Key& key) -> Chain& {
      const auto [at, is_new] = index.try_emplace(key, chains_.size());
      if (is_new) chains_.push_back({.family = key[0], .table = key[1], .name = key[2]});
      return chains_[at->second];
    };
    for (const auto& object : objects) {
      if (const auto* chain = member(object, "chain")) {
        auto& known = chain_of(key_of(*chain, "name"));
        known.hook = text_of(*chain, "hook");
        const auto* priority = member(*chain, "prio");
        if (priority != nullptr && priority->is_number_integer()) {
          known.priority = priority->get<std::int64_t>();
        }
      } else if (const auto* rule = member(object, "rule")) {
        auto& known = chain_of(key_of(*rule, "chain"));
        known.rules.push_back(rule);
        const auto* expressions = member(*rule, "expr");
        known.has_marks =
            known.has_marks || (expressions != nullptr && nft::sets_mark(*expressions));
      }
    }
  }

  /// Whether another chain's marks are set for the same packets: what ends one chain does not
  /// end the other, but would end all the rules here.
  [[nodiscard]] bool has_neighbour(const Chain& chain) const {
    return std::any_of(chains_.begin(), chains_.end(), [&](const Chain& other) {
      return &other != &chain && other.has_marks && other.is_taken() &&
             (other.family == chain.family || other.family == "inet" || chain.family == "inet");
    });
  }

  void refuse(const Chain& chain, const Json& rule, std::string reason) {
    const auto* handle = member(rule, "handle");
    const bool has_handle = handle != nullptr && handle->is_number_unsigned();
    auto where = fmt::format("table {} {}, chain {}", chain.family, chain.table, chain.name);
    if (has_handle) where += fmt::format(", handle {}", handle->get<std::uint64_t>());
    const auto* expressions = member(rule, "expr");
    auto text = expressions == nullptr
                    ? std::string()
                    : expressions->dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > kMaxRuleText) text = text.substr(0, kMaxRuleText) + "...";
    import_.refused.push_back({std::move(where), std::move(reason), std::move(text)});
  }

  void read(const Chain& chain, const Json& rule) {
    const auto* expressions = member(rule, "expr");
    if (expressions == nullptr) return refuse(chain, rule, "a rule without statements");
    if (!chain.is_taken()) {
      if (!nft::sets_mark(*expressions)) return;
      return refuse(chain, rule, "only base chains with hook prerouting can be taken");
    }
    const auto rules = nft::read_rule(*expressions, chain.family);
    if (!rules) return refuse(chain, rule, rules.error());
    const bool ends = std::any_of(rules->begin(), rules->end(), [](const auto& one) {
      return one.action == model::MarkAction::kReturn;
    });
    if (ends && has_neighbour(chain)) {
      return refuse(chain, rule, "it ends this chain but not the others that set marks");
    }
    import_.rules.insert(import_.rules.end(), rules->begin(), rules->end());
  }

  std::vector<Chain> chains_;
  MarkImport import_;
};

}  // namespace

tl::expected<MarkImport, std::string> import_nft(std::string_view text) {
  if (is_too_deep(text)) {
    return tl::unexpected(std::string("nested too deeply for a rule set of nft"));
  }
  const auto ruleset = Json::parse(text.begin(), text.end(), nullptr, false);
  const auto* objects = member(ruleset, "nftables");
  if (objects == nullptr || !objects->is_array()) {
    return tl::unexpected(std::string("this is not the output of `nft -j list ruleset'"));
  }
  return NftImport(*objects).take();
}

}  // namespace lb::cli
