// SPDX-License-Identifier: Apache-2.0
#include "control/request_handler.hpp"

#include <linux/netlink.h>

#include <cerrno>
#include <cstddef>
#include <utility>

#include "control/commands.hpp"
#include "wire/family.hpp"

namespace lb::control {
namespace {

Result<Response> dispatch(const Request& request) {
  const auto type = request.message.header.type;
  if (type != wire::kControllerFamily && type != wire::kIpvsFamily && type != wire::kSluiceFamily) {
    return failure(ENOENT);
  }
  if (!request.message.has_command) return failure(EINVAL);
  switch (type) {
    case wire::kIpvsFamily:
      return handle_ipvs(request);
    case wire::kSluiceFamily:
      return handle_sluice(request);
    default:
      return handle_controller(request);
  }
}

/// The answers to the messages of a datagram, in order.
class CompoundAnswer : public Answer {
 public:
  void add(wire::Message message) { parts_.push_back({.message = std::move(message), .dump = {}}); }
  void add(std::unique_ptr<Dump> dump) {
    has_dump_ = true;
    parts_.push_back({.message = {}, .dump = std::move(dump)});
  }
  [[nodiscard]] bool has_dump() const { return has_dump_; }

  bool next(std::vector<std::byte>& datagram) override {
    datagram.clear();
    if (next_ == parts_.size()) return false;
    auto& part = parts_[next_];
    if (part.dump == nullptr) {
      datagram = std::exchange(part.message, {});
    } else if (part.dump->fill(datagram)) {
      return true;
    } else {
      part.dump->finish(datagram);
      part.dump.reset();
    }
    ++next_;
    return true;
  }

 private:
  std::vector<Response> parts_;
  std::size_t next_ = 0;
  bool has_dump_ = false;
};

/// Handles one message as the kernel's netlink_rcv_skb does: what is no request, and what has a
/// type below those of families, is acknowledged without effect.
void handle_message(const Request& request, CompoundAnswer& answer) {
  const auto& header = request.message.header;
  int error = 0;
  if ((header.flags & NLM_F_REQUEST) != 0 && header.type >= NLMSG_MIN_TYPE) {
    auto response = dispatch(request);
    if (!response) {
      error = response.error().code;
    } else if (response->dump != nullptr) {
      if (!answer.has_dump()) return answer.add(std::move(response->dump));
      error = EBUSY;
    } else if (!response->message.empty()) {
      answer.add(std::move(response->message));
    }
  }
  if (error == 0 && (header.flags & NLM_F_ACK) == 0) return;
  wire::Message message;
  wire::encode_error(message, request.message, error, request.port_id);
  answer.add(std::move(message));
}

}  // namespace

bool Request::is_dump() const noexcept { return (message.header.flags & NLM_F_DUMP) == NLM_F_DUMP; }

std::unique_ptr<Answer> RequestHandler::handle(std::span<const std::byte> datagram,
                                               std::uint32_t port_id) const {
  auto answer = std::make_unique<CompoundAnswer>();
  while (const auto message = wire::take_message(datagram)) {
    handle_message(
        {.director = director_, .status = status_, .message = *message, .port_id = port_id},
        *answer);
  }
  return answer;
}

}  // namespace lb::control
