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

/// What the messages of a datagram are applied to.
struct Scope {
  engine::Director& director;
  const StatusSource* status;
  DaemonControl* daemon;
  std::uint32_t port_id;
  Session* session;
};

/// The answers to the messages of a datagram, in order. The messages are handled first, some at a
/// time.
class CompoundAnswer : public Answer {
 public:
  explicit CompoundAnswer(const Scope& scope) : scope_(scope) {}

  /// Handles messages of `datagram`, and keeps those that have to wait.
  void begin(std::span<const std::byte> datagram) {
    auto rest = datagram;
    // Of several requests: acknowledgements may share a datagram.
    is_batch_ = wire::take_message(rest) && wire::take_message(rest);
    handle(datagram);
    unhandled_.assign(datagram.begin(), datagram.end());
  }

  bool next(std::vector<std::byte>& datagram) override {
    datagram.clear();
    if (!is_handled()) {
      auto rest = std::span<const std::byte>(unhandled_).subspan(handled_);
      handle(rest);
      handled_ = unhandled_.size() - rest.size();
      if (!is_handled()) return true;
    }
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
  /// Requests carried out at a time; each may cost some microseconds.
  static constexpr std::size_t kAtOnce = 8;

  [[nodiscard]] bool is_handled() const { return handled_ == unhandled_.size() && !task_; }
  void handle(std::span<const std::byte>& rest);
  void handle(const wire::MessageView& message);
  void acknowledge(const wire::MessageView& message, int error);
  /// Adds the messages that follow and still fit.
  void pack(std::vector<std::byte>& datagram);

  Scope scope_;
  std::vector<std::byte> unhandled_;  ///< messages
  std::size_t handled_ = 0;           ///< bytes of them
  std::unique_ptr<Task> task_;        ///< of the last message that was handled
  std::vector<std::byte> asked_;      ///< that message
  std::vector<Response> parts_;
  std::size_t next_ = 0;
  bool is_batch_ = false;
  bool has_dump_ = false;
};

/// Takes messages off `rest` until enough is done for once.
void CompoundAnswer::handle(std::span<const std::byte>& rest) {
  for (std::size_t i = 0; i < kAtOnce; ++i) {
    if (task_ != nullptr) {
      if (task_->go_on()) return;
      task_.reset();
      acknowledge(*wire::view_message(asked_), 0);
      continue;
    }
    const auto message = wire::take_message(rest);
    if (!message) {
      rest = {};  // what is no message has no answer
      return;
    }
    handle(*message);
  }
}

/// Handles one message as the kernel's netlink_rcv_skb does: what is no request, and what has a
/// type below those of families, is acknowledged without effect.
void CompoundAnswer::handle(const wire::MessageView& message) {
  const auto& header = message.header;
  int error = 0;
  if ((header.flags & NLM_F_REQUEST) != 0 && header.type >= NLMSG_MIN_TYPE) {
    auto response = respond({.director = scope_.director,
                             .status = scope_.status,
                             .daemon = scope_.daemon,
                             .message = message,
                             .port_id = scope_.port_id},
                            scope_.session);
    if (!response) {
      error = response.error().code;
    } else if (response->dump != nullptr) {
      if (!std::exchange(has_dump_, true)) {
        parts_.push_back(*std::move(response));
        return;
      }
      error = EBUSY;
    } else if (response->task != nullptr) {
      task_ = std::move(response->task);
      asked_.assign(message.bytes.begin(), message.bytes.end());
      return;
    } else if (!response->message.empty()) {
      parts_.push_back(*std::move(response));
    }
  }
  acknowledge(message, error);
}

void CompoundAnswer::acknowledge(const wire::MessageView& message, int error) {
  if (error == 0 && (message.header.flags & NLM_F_ACK) == 0) return;
  Response answer;
  wire::encode_error(answer.message, message, error, scope_.port_id);
  parts_.push_back(std::move(answer));
}

void CompoundAnswer::pack(std::vector<std::byte>& datagram) {
  while (next_ + 1 < parts_.size()) {
    const auto& part = parts_[next_ + 1];
    const auto aligned = (datagram.size() + 3) / 4 * 4;
    if (part.dump != nullptr || aligned + part.message.size() > Dump::kMaxDatagram) return;
    datagram.resize(aligned);
    datagram.insert(datagram.end(), part.message.begin(), part.message.end());
    ++next_;
  }
}

}  // namespace

bool Request::is_dump() const noexcept { return (message.header.flags & NLM_F_DUMP) == NLM_F_DUMP; }

std::unique_ptr<Answer> RequestHandler::handle(std::span<const std::byte> datagram,
                                               std::uint32_t port_id, Session* session) const {
  auto answer = std::make_unique<CompoundAnswer>(Scope{.director = director_,
                                                       .status = status_,
                                                       .daemon = daemon_,
                                                       .port_id = port_id,
                                                       .session = session});
  answer->begin(datagram);
  return answer;
}

}  // namespace lb::control
