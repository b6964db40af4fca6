// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "model/name.hpp"

namespace lb::cli {

/// Turns nodes of a TOML file into values; every error names file, line, column and key.
class TomlValues {
 public:
  using Outcome = tl::expected<void, std::string>;

  /// `file`: its name, which outlives the reader.
  explicit TomlValues(std::string_view file) : file_(file) {}

  [[nodiscard]] tl::unexpected<std::string> error(const toml::source_region& where,
                                                  std::string_view what) const {
    return tl::unexpected(
        fmt::format("{}:{}:{}: {}", file_, where.begin.line, where.begin.column, what));
  }

  [[nodiscard]] tl::unexpected<std::string> wrong(const toml::key& key, const toml::node& node,
                                                  std::string_view what) const {
    return error(node.source(), fmt::format("{}: {}", key.str(), what));
  }
  [[nodiscard]] tl::unexpected<std::string> unknown(const toml::key& key,
                                                    std::string_view known) const {
    return error(key.source(), fmt::format("{}: unknown key (known: {})", key.str(), known));
  }

  template <class Int>
  [[nodiscard]] Outcome number(const toml::key& key, const toml::node& node, std::int64_t low,
                               std::int64_t high, Int& out) const {
    const auto* value = node.as_integer();
    if (value == nullptr || value->get() < low || value->get() > high) {
      return wrong(key, node, fmt::format("must be an integer from {} to {}", low, high));
    }
    out = static_cast<Int>(value->get());
    return {};
  }

  [[nodiscard]] Outcome flag(const toml::key& key, const toml::node& node, bool& out) const {
    const auto* value = node.as_boolean();
    if (value == nullptr) return wrong(key, node, "must be true or false");
    out = value->get();
    return {};
  }

  [[nodiscard]] Outcome text(const toml::key& key, const toml::node& node, std::string& out) const {
    const auto* value = node.as_string();
    if (value == nullptr) return wrong(key, node, "must be a string");
    out = value->get();
    return {};
  }

  [[nodiscard]] Outcome name(const toml::key& key, const toml::node& node, model::Name& out) const {
    std::string written;
    if (auto done = text(key, node, written); !done) return done;
    if (written.empty() || written.size() > model::Name::kMaxLength) {
      return wrong(key, node, fmt::format("must have 1 to {} characters", model::Name::kMaxLength));
    }
    out = std::string_view(written);
    return {};
  }

  /// The index of one of `words`.
  [[nodiscard]] tl::expected<std::size_t, std::string> word(
      const toml::key& key, const toml::node& node,
      std::initializer_list<std::string_view> words) const {
    const auto* value = node.as_string();
    const auto found =
        value == nullptr ? words.end() : std::find(words.begin(), words.end(), value->get());
    if (found == words.end()) {
      return wrong(key, node, fmt::format("must be one of: {}", fmt::join(words, ", ")));
    }
    return static_cast<std::size_t>(found - words.begin());
  }

 private:
  std::string_view file_;
};

}  // namespace lb::cli
