// SPDX-License-Identifier: Apache-2.0
// The request handler on any datagrams, one after the other: each a length of two bytes (little
// endian), then that many bytes. Answers must be whole netlink messages of bounded size, and end.
#include <cstdint>
#include <span>
#include <vector>

#include "control/request_handler.hpp"
#include "control/transaction.hpp"
#include "fuzz/director_world.hpp"
#include "fuzz/input.hpp"
#include "wire/netlink.hpp"

namespace {

constexpr std::size_t kLargestDatagram = 16 * 1024;
constexpr int kMostDatagrams = 10000;
constexpr int kMaxRequests = 64;

void ask(const lb::control::RequestHandler& handler, lb::control::Session& session,
         std::span<const std::byte> request) {
  using lb::fuzz::expect;
  std::vector<std::byte> datagram;
  const auto answer = handler.handle(request, 7, &session);
  int count = 0;
  while (answer->next(datagram)) {
    expect(++count < kMostDatagrams, "an answer ends");
    expect(datagram.size() <= kLargestDatagram + request.size(), "a datagram is of bounded size");
    std::span<const std::byte> rest = datagram;
    while (lb::wire::take_message(rest)) {
    }
    expect(rest.empty(), "an answer is whole messages");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto& world = lb::fuzz::serve<lb::fuzz::DirectorWorld>(16U);
  const lb::control::RequestHandler handler(world.director, nullptr);
  lb::control::Session session;
  lb::fuzz::Input input(data, size);
  for (int i = 0; i < kMaxRequests && !input.is_empty(); ++i) {
    ask(handler, session, input.take(input.half()));
  }
  world.clear();
  return 0;
}
