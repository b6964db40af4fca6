// SPDX-License-Identifier: Apache-2.0
#include "replay/case_file.hpp"

#include <charconv>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace lb::replay {
namespace {

using nlohmann::json;

/// Thrown inside this file only; parse_case turns it into a FileError.
struct FormatError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class T>
T required(std::optional<T> value, const std::string& text, const char* what) {
  if (!value) throw FormatError(std::string("not ") + what + ": \"" + text + "\"");
  return *std::move(value);
}

std::string text_of(const json& object, const char* key) {
  return object.at(key).get<std::string>();
}

net::IpAddress address_of(const std::string& text) {
  return required(net::IpAddress::from_text(text), text, "an address");
}

net::Endpoint endpoint_of(const std::string& text) {
  return required(endpoint_from_text(text), text, "an address with a port");
}

Bytes hex_of(const std::string& text) {
  return required(bytes_from_hex(text), text, "hexadecimal");
}

net::Mac mac_of(const std::string& text) {
  return required(net::Mac::from_text(text), text, "a MAC address");
}

Maker maker_of(const json& object) {
  if (!object.contains("by")) return Maker::kEngine;
  const auto by = text_of(object, "by");
  if (by == "host") return Maker::kHost;
  if (by == "route") return Maker::kRoute;
  throw FormatError("unknown value of \"by\": \"" + by + "\"");
}

net::Protocol protocol_of(const std::string& text) {
  if (text == "tcp") return net::Protocol::kTcp;
  if (text == "udp") return net::Protocol::kUdp;
  if (text == "sctp") return net::Protocol::kSctp;
  throw FormatError("unknown protocol \"" + text + "\"");
}

std::vector<ExpectedFrame> frames_of(const json& list) {
  std::vector<ExpectedFrame> frames;
  for (const auto& item : list) {
    ExpectedFrame frame{.port = text_of(item, "port"), .bytes = hex_of(text_of(item, "frame"))};
    frame.by = maker_of(item);
    for (const auto& any : item.value("any", json::array())) {
      const AnyBytes stretch{any.at(0).get<std::size_t>(), any.at(1).get<std::size_t>()};
      if (stretch.offset > frame.bytes.size() ||
          stretch.length > frame.bytes.size() - stretch.offset) {
        throw FormatError("\"any\" reaches beyond its frame");
      }
      frame.any.push_back(stretch);
    }
    frames.push_back(std::move(frame));
  }
  return frames;
}

CaseMeta meta_of(const json& object) {
  if (object.value("op", "") != "meta") throw FormatError("the first line is not \"meta\"");
  CaseMeta meta{.id = text_of(object, "id"), .about = object.value("about", "")};
  for (const auto& [name, value] : object.at("ports").items()) {
    CasePort port{.name = name, .mac = mac_of(text_of(value, "mac"))};
    port.mtu = value.at("mtu").get<std::uint32_t>();
    for (const auto& address : value.at("addrs")) {
      const auto text = address.get<std::string>();
      port.addresses.push_back(required(prefix_from_text(text), text, "an address"));
    }
    meta.ports.push_back(std::move(port));
  }
  for (const auto& value : object.at("neigh")) {
    meta.neighbours.push_back(
        {address_of(text_of(value, "ip")), mac_of(text_of(value, "mac")), text_of(value, "dev")});
  }
  for (const auto& value : object.at("routes")) {
    CaseRoute route{.port = text_of(value, "dev")};
    if (value.contains("via")) route.via = address_of(text_of(value, "via"));
    const auto destination = text_of(value, "dst");
    if (destination == "default") {
      const auto family = route.via ? route.via->family() : net::Family::kIpv4;
      route.destination = {net::IpAddress::any(family), 0};
    } else {
      route.destination = required(prefix_from_text(destination), destination, "a prefix");
    }
    meta.routes.push_back(std::move(route));
  }
  for (const auto& [name, value] : object.at("sysctl").items()) {
    meta.sysctls.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  meta.marks = object.value("marks", std::vector<std::string>{});
  meta.setup = object.value("setup", std::vector<std::string>{});
  return meta;
}

CommandStep command_of(const json& object) {
  CommandStep step{.arguments = object.at("argv").get<std::vector<std::string>>(),
                   .input = object.value("stdin", ""),
                   .exit_status = object.at("rc").get<int>(),
                   .out = text_of(object, "out"),
                   .err = text_of(object, "err")};
  if (step.arguments.empty()) throw FormatError("\"argv\" is empty");
  step.skip_lines = object.value("skip_lines", std::vector<std::size_t>{});
  step.unordered = object.value("unordered", false);
  step.netlink_loose = object.value("nl_loose", false);
  if (object.contains("nl")) {
    step.netlink.emplace();
    for (const auto& item : object.at("nl")) {
      step.netlink->push_back({text_of(item, "dir") == "to-kernel", hex_of(text_of(item, "msg"))});
    }
  }
  return step;
}

ReceiveStep receive_of(const json& object) {
  ReceiveStep step{.port = text_of(object, "port"),
                   .frame = hex_of(text_of(object, "frame")),
                   .sent = frames_of(object.at("tx"))};
  for (const auto& packet : object.value("host", json::array())) {
    step.host_answers.push_back(hex_of(packet.get<std::string>()));
  }
  return step;
}

std::optional<net::Endpoint> optional_endpoint(const json& value) {
  if (value.is_null()) return std::nullopt;
  return endpoint_of(value.get<std::string>());
}

FlowStep flow_of(const json& object) {
  return {.protocol = protocol_of(text_of(object, "proto")),
          .client = endpoint_of(text_of(object, "c")),
          .virtual_end = endpoint_of(text_of(object, "v")),
          .flags = text_of(object, "flags"),
          .server = optional_endpoint(object.at("rs")),
          .back = object.value("back", ""),
          .by = maker_of(object)};
}

ReplyStep reply_of(const json& object) {
  return {.protocol = protocol_of(text_of(object, "proto")),
          .server = endpoint_of(text_of(object, "rs")),
          .client = endpoint_of(text_of(object, "c")),
          .flags = text_of(object, "flags"),
          .source = optional_endpoint(object.at("src"))};
}

ConnectionsStep connections_of(const json& object) {
  ConnectionsStep step{.partial = object.value("partial", false),
                       .ignore_expiry = object.value("expire_loose", false)};
  for (const auto& item : object.at("conns")) {
    step.connections.push_back({text_of(item, "pro"), item.at("expire").get<std::int64_t>(),
                                text_of(item, "state"), text_of(item, "c"), text_of(item, "v"),
                                text_of(item, "d")});
  }
  return step;
}

Step step_of(const json& object) {
  const auto op = text_of(object, "op");
  Step step{.time = object.value("t", -1.0),
            .loose = object.value("loose", false),
            .note = object.value("note", "")};
  if (op == "note") {
    step.action = NoteStep{text_of(object, "text")};
  } else if (op == "cmd") {
    step.action = command_of(object);
  } else if (op == "rx") {
    step.action = receive_of(object);
  } else if (op == "flow") {
    step.action = flow_of(object);
  } else if (op == "reply") {
    step.action = reply_of(object);
  } else if (op == "conns") {
    step.action = connections_of(object);
  } else if (op == "sleep") {
    step.action = SleepStep{object.at("s").get<double>(), frames_of(object.at("tx"))};
  } else if (op == "sysctl") {
    step.action = SysctlStep{text_of(object, "name"), text_of(object, "value")};
  } else {
    throw FormatError("unknown step \"" + op + "\"");
  }
  return step;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

template <class Int>
std::optional<Int> number_from_text(std::string_view text) {
  Int value{};
  const auto* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return value;
}

}  // namespace

std::string FileError::to_text() const {
  return path + (line == 0 ? "" : ":" + std::to_string(line)) + ": " + message;
}

std::optional<Bytes> bytes_from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_digit(text[i]);
    const int low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(high * 16 + low));
  }
  return bytes;
}

std::optional<net::Endpoint> endpoint_from_text(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto address_text = text.substr(0, colon);
  const bool bracketed =
      address_text.size() >= 2 && address_text.front() == '[' && address_text.back() == ']';
  if (bracketed) address_text = address_text.substr(1, address_text.size() - 2);
  const auto address = net::IpAddress::from_text(address_text);
  const auto port = number_from_text<std::uint16_t>(text.substr(colon + 1));
  if (!address || !port || bracketed == address->is_v4()) return std::nullopt;
  return net::Endpoint{*address, net::Port::from_host(*port)};
}

std::optional<InterfaceAddress> prefix_from_text(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = net::IpAddress::from_text(text.substr(0, slash));
  if (!address) return std::nullopt;
  const auto width = static_cast<std::uint8_t>(address->size() * 8);
  if (slash == std::string_view::npos) return InterfaceAddress{*address, width};
  const auto length = number_from_text<std::uint8_t>(text.substr(slash + 1));
  if (!length || *length > width) return std::nullopt;
  return InterfaceAddress{*address, *length};
}

std::string to_text(const net::Endpoint& endpoint) {
  const auto port = std::to_string(endpoint.port.to_host());
  if (endpoint.address.is_v4()) return endpoint.address.to_text() + ":" + port;
  return "[" + endpoint.address.to_text() + "]:" + port;
}

tl::expected<Case, FileError> parse_case(std::string_view text, const std::string& name) {
  Case result;
  std::size_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const auto end = text.find('\n');
    const auto line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (line.empty()) continue;
    try {
      const auto object = json::parse(line);
      if (result.meta.id.empty()) {
        result.meta = meta_of(object);
        if (result.meta.id.empty()) throw FormatError("\"id\" is empty");
      } else {
        result.steps.push_back(step_of(object));
        result.steps.back().line = line_number;
      }
    } catch (const json::exception& error) {
      return tl::unexpected(FileError{name, line_number, error.what()});
    } catch (const FormatError& error) {
      return tl::unexpected(FileError{name, line_number, error.what()});
    }
  }
  if (result.meta.id.empty()) return tl::unexpected(FileError{name, 0, "no case in it"});
  return result;
}

tl::expected<Case, FileError> load_case(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return tl::unexpected(FileError{path, 0, "cannot be opened"});
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.bad()) return tl::unexpected(FileError{path, 0, "cannot be read"});
  return parse_case(text, path);
}

}  // namespace lb::replay
