// SPDX-License-Identifier: Apache-2.0
#include "cli/option_reader.hpp"

#include <cstdlib>

namespace lb::cli {
namespace {

constexpr unsigned kFlag = POPT_ARG_NONE;
constexpr unsigned kText = POPT_ARG_STRING;
constexpr unsigned kOptionalText =
    static_cast<unsigned>(POPT_ARG_STRING) | static_cast<unsigned>(POPT_ARGFLAG_OPTIONAL);

constexpr poptOption letter(const char* name, char letter, unsigned kind) {
  return {name, letter, kind, nullptr, letter, nullptr, nullptr};
}
constexpr poptOption word(const char* name, unsigned kind, int value) {
  return {name, '\0', kind, nullptr, value, nullptr, nullptr};
}

// No entry has a variable to fill: popt keeps arguments in its context, so the table is constant
// and any number of readers may use it.
constexpr poptOption kTable[] = {
    letter("add-service", 'A', kFlag),
    letter("edit-service", 'E', kFlag),
    letter("delete-service", 'D', kFlag),
    letter("clear", 'C', kFlag),
    letter("list", 'L', kFlag),
    letter(nullptr, 'l', kFlag),
    letter("zero", 'Z', kFlag),
    letter("add-server", 'a', kFlag),
    letter("edit-server", 'e', kFlag),
    letter("delete-server", 'd', kFlag),
    letter("help", 'h', kFlag),
    letter("version", 'v', kFlag),
    letter("restore", 'R', kFlag),
    letter("save", 'S', kFlag),
    word("set", kFlag, kOptionSet),
    word("start-daemon", kText, kOptionStartDaemon),
    word("stop-daemon", kText, kOptionStopDaemon),
    letter("tcp-service", 't', kText),
    letter("udp-service", 'u', kText),
    word("sctp-service", kText, kOptionSctpService),
    letter("fwmark-service", 'f', kText),
    letter("ipv6", '6', kFlag),
    letter("scheduler", 's', kText),
    letter("persistent", 'p', kOptionalText),
    letter("netmask", 'M', kText),
    letter("real-server", 'r', kText),
    letter("masquerading", 'm', kFlag),
    letter("ipip", 'i', kFlag),
    letter("gatewaying", 'g', kFlag),
    letter("weight", 'w', kText),
    letter("u-threshold", 'x', kText),
    letter("l-threshold", 'y', kText),
    letter("numeric", 'n', kFlag),
    letter("connection", 'c', kFlag),
    letter("ops", 'o', kFlag),
    letter("sched-flags", 'b', kText),
    word("pe", kText, kOptionPersistenceEngine),
    word("mcast-interface", kText, kOptionMcastInterface),
    word("syncid", kText, kOptionSyncId),
    word("sync-maxlen", kText, kOptionSyncMaxLength),
    word("mcast-group", kText, kOptionMcastGroup),
    word("mcast-port", kText, kOptionMcastPort),
    word("mcast-ttl", kText, kOptionMcastTtl),
    word("timeout", kFlag, kOptionTimeout),
    word("daemon", kFlag, kOptionDaemon),
    word("stats", kFlag, kOptionStats),
    word("rate", kFlag, kOptionRate),
    word("thresholds", kFlag, kOptionThresholds),
    word("persistent-conn", kFlag, kOptionPersistentConn),
    word("tun-info", kFlag, kOptionTunnelInfo),
    word("nosort", kFlag, kOptionNoSort),
    word("sort", kFlag, kOptionSort),
    letter("exact", 'X', kFlag),
    word("tun-type", kText, kOptionTunnelType),
    word("tun-port", kText, kOptionTunnelPort),
    word("tun-nocsum", kFlag, kOptionTunnelNoChecksum),
    word("tun-csum", kFlag, kOptionTunnelChecksum),
    word("tun-remcsum", kFlag, kOptionTunnelRemoteChecksum),
    {nullptr, '\0', 0, nullptr, 0, nullptr, nullptr},
};

}  // namespace

OptionReader::OptionReader(std::span<const std::string> arguments) {
  arguments_.reserve(arguments.size() + 1);
  for (const auto& argument : arguments) arguments_.push_back(argument.c_str());
  arguments_.push_back(nullptr);
  context_.reset(
      poptGetContext("ipvsadm", static_cast<int>(arguments.size()), arguments_.data(), kTable, 0));
}

int OptionReader::next() { return poptGetNextOpt(context_.get()); }

std::optional<std::string> OptionReader::argument() {
  const std::unique_ptr<char, decltype(&std::free)> text(poptGetOptArg(context_.get()), &std::free);
  if (!text) return std::nullopt;
  return std::string(text.get());
}

std::optional<std::string> OptionReader::word() {
  const char* const text = poptGetArg(context_.get());
  if (text == nullptr) return std::nullopt;
  return std::string(text);
}

std::string OptionReader::written() const {
  const char* const text = poptBadOption(context_.get(), POPT_BADOPTION_NOALIAS);
  return text == nullptr ? std::string() : std::string(text);
}

std::string OptionReader::error_text(int error) { return poptStrerror(error); }

}  // namespace lb::cli
