// SPDX-License-Identifier: Apache-2.0
#include "control/request_handler.hpp"

#include <linux/netlink.h>

#include <cerrno>
#include <cstddef>
#include <utility>

#include "control/commands.hpp"
#include "control/transaction.hpp"
#include "wire/family.hpp"
#include "wire/sluice_messages.hpp"
#include "wire/transaction_messages.hpp"

namespace lb::control {

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

namespace {

bool is_transaction_command(const wire::MessageView& message) noexcept {
  if (message.header.type != wire::kSluiceFamily || !message.has_command) return false;
  using enum wire::SluiceCommand;
  const auto command = static_cast<wire::SluiceCommand>(message.header.command);
  return command == kBeginTransaction || command == kCommitTransaction ||
         command == kAbortTransaction;
}

Result<Response> change_transaction(const Request& request, Session& session) {
  using enum wire::SluiceCommand;
  const auto command = static_cast<wire::SluiceCommand>(request.message.header.command);
  if (command == kBeginTransaction) {
    if (session.transaction) return failure(EBUSY);
    session.transaction.emplace();
    return Response{};
  }
  if (!session.transaction) return failure(EINVAL);
  const auto transaction = *std::exchange(session.transaction, std::nullopt);
  Response response;
  if (command == kCommitTransaction) {
    wire::encode_transaction_result(response.message, request.message, request.port_id,
                                    transaction.apply(request.director));
  }
  return response;
}

/// With a transaction, changes are kept for later.
Result<Response> respond(const Request& request, Session* session) {
  if (is_transaction_command(request.message)) {
    if (session == nullptr) return failure(EOPNOTSUPP);
    return change_transaction(request, *session);
  }
  if (session == nullptr || !session->transaction || request.is_dump() ||
      !Transaction::takes(request.message)) {
    return dispatch(request);
  }
  if (const auto kept = session->transaction->keep(request.message); !kept) {
    return tl::unexpected(kept.error());
  }
  return Response{};
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
  /// Of several requests: acknowledgements may share a datagram.
  void set_batch() { is_batch_ = true; }

  bool next(std::vector<std::byte>& datagram) override {
    datagram.clear();
    if (next_ == parts_.size()) return false;
    auto& part = parts_[next_];
    if (part.dump == nullptr) {
      datagram = std::exchange(part.message, {});
      if (is_batch_) pack(datagram);
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
  /// Adds the messages that follow and still fit.
  void pack(std::vector<std::byte>& datagram) {
    while (next_ + 1 < parts_.size()) {
      const auto& part = parts_[next_ + 1];
      const auto aligned = (datagram.size() + 3) / 4 * 4;
      if (part.dump != nullptr || aligned + part.message.size() > Dump::kMaxDatagram) return;
      datagram.resize(aligned);
      datagram.insert(datagram.end(), part.message.begin(), part.message.end());
      ++next_;
    }
  }

  std::vector<Response> parts_;
  std::size_t next_ = 0;
  bool is_batch_ = false;
  bool has_dump_ = false;
};

/// Handles one message as the kernel's netlink_rcv_skb does: what is no request, and what has a
/// type below those of families, is acknowledged without effect.
void handle_message(const Request& request, Session* session, CompoundAnswer& answer) {
  const auto& header = request.message.header;
  int error = 0;
  if ((header.flags & NLM_F_REQUEST) != 0 && header.type >= NLMSG_MIN_TYPE) {
    auto response = respond(request, session);
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
                                               std::uint32_t port_id, Session* session) const {
  auto answer = std::make_unique<CompoundAnswer>();
  auto rest = datagram;
  if (wire::take_message(rest) && wire::take_message(rest)) answer->set_batch();
  while (const auto message = wire::take_message(datagram)) {
    handle_message({.director = director_,
                    .status = status_,
                    .daemon = daemon_,
                    .message = *message,
                    .port_id = port_id},
                   session, *answer);
  }
  return answer;
}

}  // namespace lb::control
