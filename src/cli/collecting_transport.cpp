// SPDX-License-Identifier: Apache-2.0
#include "cli/collecting_transport.hpp"

#include <linux/ip_vs.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>

#include "wire/family.hpp"

namespace lb::cli {

Result<std::vector<wire::Message>> CollectingTransport::exchange(
    std::span<const std::byte> request) {
  const auto view = wire::view_message(request);
  if (!view) return failure(EINVAL);
  const auto& header = view->header;
  const bool is_info = header.type == wire::kIpvsFamily && header.command == IPVS_CMD_GET_INFO;
  if (is_info || header.type == wire::kControllerFamily) {
    for (const auto& [asked, answer] : remembered_) {
      if (std::equal(asked.begin(), asked.end(), request.begin(), request.end())) return answer;
    }
    auto answer = director_.exchange(request);
    if (answer) remembered_.emplace_back(wire::Message(request.begin(), request.end()), *answer);
    return answer;
  }
  const bool is_question =
      header.type == wire::kIpvsFamily &&
      (header.command == IPVS_CMD_GET_SERVICE || header.command == IPVS_CMD_GET_CONFIG);
  if (is_question || (header.flags & NLM_F_DUMP) != 0) return failure(EOPNOTSUPP);
  requests_.emplace_back(request.begin(), request.end());
  wire::Message acknowledgement;
  wire::encode_error(acknowledgement, *view, 0, 0);
  return std::vector<wire::Message>{std::move(acknowledgement)};
}

}  // namespace lb::cli
