// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdlib>
#include <numeric>

#include "cli/listing.hpp"

namespace lb::cli {
namespace {

// ipvsadm orders by the difference of unsigned numbers taken as signed, which is no order at all
// for numbers more than 2^31 apart (so 192.0.2.1 stands before 10.0.0.1). What comes out then
// depends on the sorting procedure. To list as ipvsadm does we compare and sort as it does:
// by these differences, with the C library's qsort.
int difference(std::uint32_t a, std::uint32_t b) noexcept { return static_cast<int>(a - b); }

int difference(const net::IpAddress& a, const net::IpAddress& b) noexcept {
  const std::size_t words = a.is_v4() ? 1 : 4;
  for (std::size_t i = 0; i < words; ++i) {
    const int result = difference(a.word(i).to_host(), b.word(i).to_host());
    if (result != 0) return result;
  }
  return 0;
}

int compare(const model::ServiceInfo& a, const model::ServiceInfo& b) noexcept {
  const auto& left = a.spec.key;
  const auto& right = b.spec.key;
  const std::array differences = {
      difference(left.fwmark, right.fwmark),
      static_cast<int>(left.family) - static_cast<int>(right.family),
      static_cast<int>(left.protocol) - static_cast<int>(right.protocol),
      difference(left.address, right.address),
      difference(left.port.to_host(), right.port.to_host()),
  };
  for (const int result : differences) {
    if (result != 0) return result;
  }
  return 0;
}

int compare(const model::DestinationInfo& a, const model::DestinationInfo& b) noexcept {
  const int result = difference(a.spec.address, b.spec.address);
  return result != 0 ? result : difference(a.spec.port.to_host(), b.spec.port.to_host());
}

template <class Entry>
void sort_by_compare(std::vector<Entry>& entries) {
  if (entries.empty()) return;  // qsort takes no null pointer
  std::vector<const Entry*> order(entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) order[i] = &entries[i];
  std::qsort(order.data(), order.size(), sizeof(const Entry*), [](const void* a, const void* b) {
    return compare(**static_cast<const Entry* const*>(a), **static_cast<const Entry* const*>(b));
  });
  std::vector<Entry> sorted;
  sorted.reserve(entries.size());
  for (const Entry* entry : order) sorted.push_back(*entry);
  entries = std::move(sorted);
}

}  // namespace

void sort_for_listing(std::vector<model::ServiceInfo>& services) { sort_by_compare(services); }

void sort_for_listing(std::vector<model::DestinationInfo>& destinations) {
  sort_by_compare(destinations);
}

}  // namespace lb::cli
