// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <variant>
#include <vector>

#include "net/address.hpp"

namespace lb::replay {

using Bytes = std::vector<std::byte>;

/// An address with the length of its on-link prefix.
struct InterfaceAddress {
  net::IpAddress address{};
  std::uint8_t prefix_length = 0;
};

struct CasePort {
  std::string name{};
  net::Mac mac{};
  std::uint32_t mtu = 1500;
  std::vector<InterfaceAddress> addresses{};
};

struct CaseNeighbour {
  net::IpAddress address{};
  net::Mac mac{};
  std::string port{};
};

struct CaseRoute {
  InterfaceAddress destination{};
  std::optional<net::IpAddress> via{};
  std::string port{};
};

/// The first line of a case: what surrounds the director.
struct CaseMeta {
  std::string id{};
  std::string about{};
  std::vector<CasePort> ports{};
  std::vector<CaseNeighbour> neighbours{};
  std::vector<CaseRoute> routes{};
  std::vector<std::pair<std::string, std::string>> sysctls{};
  std::vector<std::string> marks{};
  std::vector<std::string> setup{};
};

/// A stretch of a frame that is not compared.
struct AnyBytes {
  std::size_t offset = 0;
  std::size_t length = 0;
};

/// Who made a recorded frame: IPVS itself, the director's own stack, or plain forwarding.
enum class Maker : std::uint8_t { kEngine, kHost, kRoute };

struct ExpectedFrame {
  std::string port{};
  Bytes bytes{};
  std::vector<AnyBytes> any{};
  Maker by = Maker::kEngine;
};

struct NetlinkRecord {
  bool to_kernel = false;
  Bytes message{};
};

struct CommandStep {
  std::vector<std::string> arguments{};
  std::string input{};
  int exit_status = 0;
  std::string out{};
  std::string err{};
  std::vector<std::size_t> skip_lines{};  ///< of `out`, counted from 0
  bool unordered = false;
  std::optional<std::vector<NetlinkRecord>> netlink{};
  bool netlink_loose = false;
};

struct ReceiveStep {
  std::string port{};
  Bytes frame{};
  std::vector<ExpectedFrame> sent{};
  std::vector<Bytes> host_answers{};  ///< IP packets with which the host answered
  bool to_host = false;               ///< the director's own stack must get it (text cases)
};

/// A client packet in short form and the server that it was sent to.
struct FlowStep {
  net::Protocol protocol = net::Protocol::kTcp;
  net::Endpoint client{};
  net::Endpoint virtual_end{};
  std::string flags{};
  std::optional<net::Endpoint> server{};
  std::string back{};  ///< "tcp RA", "icmp 3/3"; empty: nothing went back
  Maker by = Maker::kEngine;
};

/// A packet of a real server in short form and the address it left with.
struct ReplyStep {
  net::Protocol protocol = net::Protocol::kTcp;
  net::Endpoint server{};
  net::Endpoint client{};
  std::string flags{};
  std::optional<net::Endpoint> source{};
};

/// One line of the connection table; addresses as text, as the listing shows them.
struct ConnectionLine {
  std::string protocol{};
  std::int64_t expires_in = 0;
  std::string state{};
  std::string client{};
  std::string virtual_end{};
  std::string destination{};
};

struct ConnectionsStep {
  std::vector<ConnectionLine> connections{};
  bool partial = false;
  bool ignore_expiry = false;
};

struct SleepStep {
  double seconds = 0;
  std::vector<ExpectedFrame> sent{};
};

struct SysctlStep {
  std::string name{};
  std::string value{};
};

/// What has been dropped so far, by reason (text cases).
struct DroppedStep {
  std::vector<std::pair<std::string, std::uint64_t>> reasons{};
};

struct NoteStep {
  std::string text{};
};

struct Step {
  std::size_t line = 0;  ///< in the case's file
  double time = -1;      ///< seconds since the start; negative: not given
  bool loose = false;    ///< differed between the recordings: run, not compared
  std::string note{};
  std::variant<NoteStep, CommandStep, ReceiveStep, FlowStep, ReplyStep, ConnectionsStep, SleepStep,
               SysctlStep, DroppedStep>
      action{};
};

struct Case {
  CaseMeta meta;
  std::vector<Step> steps{};
};

/// What is wrong with a file, and where. Line 0: the file as a whole.
struct FileError {
  std::string path{};
  std::size_t line = 0;
  std::string message{};
  [[nodiscard]] std::string to_text() const;
};

/// Reads one recorded case.
[[nodiscard]] tl::expected<Case, FileError> load_case(const std::string& path);
/// Reads a case from the text of its file; `name` is for error messages.
[[nodiscard]] tl::expected<Case, FileError> parse_case(std::string_view text,
                                                       const std::string& name);
/// Reads hexadecimal pairs; null if there is anything else.
[[nodiscard]] std::optional<Bytes> bytes_from_hex(std::string_view text);
/// Reads `address:port` or `[address]:port`.
[[nodiscard]] std::optional<net::Endpoint> endpoint_from_text(std::string_view text);
/// Reads `address/length`; without a length the whole address.
[[nodiscard]] std::optional<InterfaceAddress> prefix_from_text(std::string_view text);
/// Writes `address:port` or `[address]:port`.
[[nodiscard]] std::string to_text(const net::Endpoint& endpoint);

}  // namespace lb::replay
