// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tl/expected.hpp>

namespace lb {

/// Why a request failed: an errno value, the one that kernel IPVS gives in the same situation.
struct Error {
  int code = 0;
  friend constexpr bool operator==(const Error&, const Error&) = default;
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> failure(int code) { return tl::unexpected(Error{code}); }

}  // namespace lb
