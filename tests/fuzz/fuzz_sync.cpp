// SPDX-License-Identifier: Apache-2.0
// A director with both synchronisation daemons: any messages, entries that make sense, its own
// messages back again, packets, changes of the configuration, time.
//
// The input: steps: a byte for what is done, and its operands. What must hold besides
// PacketWorld's: an entry that was read is the same after it was written and read again, and a
// director's own messages are whole.
#include <cstdint>
#include <vector>

#include "engine/sync/sync_message.hpp"
#include "engine/sync/sync_queue.hpp"
#include "fuzz/input.hpp"
#include "fuzz/packet_world.hpp"

namespace lb::fuzz {
namespace {

using engine::SyncEntry;
using engine::SyncMessageReader;

constexpr std::size_t kMaxSteps = 64;
constexpr std::size_t kLongest = 1472;
constexpr std::size_t kMostKept = 16;

/// Keeps what is sent.
class Wire : public engine::SyncTransport {
 public:
  Result<void> open(const engine::SyncSockets&) noexcept override { return {}; }
  void close(model::SyncRole) noexcept override {}
  void send(unsigned, std::span<const std::byte> message) noexcept override {
    SyncMessageReader reader(message);
    expect(reader.is_message(), "a message of our own is one");
    SyncEntry entry;
    auto step = reader.next(entry);
    while (step == SyncMessageReader::Step::kEntry) step = reader.next(entry);
    expect(step == SyncMessageReader::Step::kEnd, "a message of our own can be read");
    if (kept.size() < kMostKept) kept.emplace_back(message.begin(), message.end());
  }
  std::vector<std::vector<std::byte>> kept;
};

class SyncWorld : public PacketWorld {
 public:
  SyncWorld() { director.set_sync_transport(&wire); }
  Wire wire;
};

void check_same(const SyncEntry& one, const SyncEntry& other) {
  const auto shift = [](const SyncEntry& entry) {
    const auto value = entry.answers_shift.value_or(engine::SequenceShift{});
    return std::tuple(entry.answers_shift.has_value(), value.position, value.before, value.after);
  };
  const auto fields = [&](const SyncEntry& entry) {
    return std::tuple(entry.protocol, entry.flags, entry.state, entry.client, entry.virtual_end,
                      entry.real_end, entry.fwmark, entry.timeout_s, shift(entry), entry.key_data);
  };
  expect(fields(one) == fields(other), "an entry is the same again");
  expect(one.key_data.empty() || one.engine_name == other.engine_name, "so is its engine");
}

void check_round_trip(std::span<const std::byte> message) {
  SyncMessageReader reader(message);
  SyncEntry entry;
  for (auto step = reader.next(entry);
       step == SyncMessageReader::Step::kEntry || step == SyncMessageReader::Step::kSkipped;
       step = reader.next(entry)) {
    if (step == SyncMessageReader::Step::kSkipped) continue;
    const auto size = engine::sync_entry_size(entry, 1);
    expect(size <= engine::kMaxSyncEntry, "an entry is not longer than the longest");
    std::vector<std::byte> again(engine::kSyncHeaderV1 + size);
    net::store(std::span(again), 2, engine::test::be16(again.size()));
    again[4] = std::byte{1};
    again[5] = std::byte{1};
    engine::write_sync_entry(entry, 1, std::span(again).subspan(engine::kSyncHeaderV1));
    SyncMessageReader second(again);
    SyncEntry read;
    expect(second.next(read) == SyncMessageReader::Step::kEntry, "an entry can be read again");
    check_same(entry, read);
  }
}

class Player {
 public:
  Player(SyncWorld& world, const Input& input)
      : world_(world), input_(input), director_(world.director) {}

  void play() {
    world_.wire.kept.clear();
    for (std::size_t i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      step();
      world_.check_capacity();
    }
    world_.finish();
  }

 private:
  void step() {
    const unsigned what = input_.byte();
    const unsigned operand = what >> 3U;
    switch (what % 8) {
      case 0:
        any_message();
        break;
      case 1:
      case 2:
        entries();
        break;
      case 3:
        back_again(operand);
        break;
      case 4:
        configuration(operand);
        break;
      case 5:
        settings(operand);
        break;
      case 6:
        wait(operand);
        break;
      default:
        packet(operand);
        break;
    }
  }

  void any_message() {
    const auto message = input_.take(input_.byte());
    check_round_trip(message);
    director_.receive_sync(message);
  }

  net::Endpoint end(bool is_v6, unsigned selector) {
    const auto port = net::Port::from_host((selector & 4U) != 0 ? 80 : 0);
    switch (selector % 4) {
      case 0:
        return {client_address(is_v6, 1), net::Port::from_host(40000)};
      case 1:
        return {virtual_address(is_v6, PacketWorld::kVirtual), port};
      case 2:
        return {server_address(is_v6, PacketWorld::kServers[0]), port};
      default:
        return {net::IpAddress::any(is_v6 ? net::Family::kIpv6 : net::Family::kIpv4), port};
    }
  }

  // Entries that make some sense, in one message.
  void entries() {
    engine::SyncQueue queue(kLongest, kSyncId);
    const unsigned kind = input_.byte();
    const int version = (kind & 1U) != 0 ? 0 : 1;
    constexpr std::array kProtocols{net::Protocol::kTcp, net::Protocol::kUdp, net::Protocol::kSctp,
                                    net::Protocol::kIp};
    for (unsigned i = 0; i <= kind >> 6U; ++i) {
      const unsigned what = input_.byte();
      const bool is_v6 = version == 1 && (what & 1U) != 0;
      const auto ends = input_.half();
      SyncEntry entry{.protocol = kProtocols[what >> 1U & 3U],
                      .flags = input_.half(),
                      .state = static_cast<std::uint16_t>(what >> 4U),
                      .client = end(is_v6, ends),
                      .virtual_end = end(is_v6, ends >> 3U),
                      .real_end = end(is_v6, ends >> 6U),
                      .fwmark = ends >> 12U & 3U,
                      .timeout_s = input_.half(),
                      .answers_shift = {},
                      .key_data = {},
                      .engine_name = {}};
      if ((entry.flags & engine::kSyncAnswersShifted) != 0) {
        entry.answers_shift = {.position = input_.half(), .before = 0, .after = input_.byte()};
      }
      if (version == 1 && (what & 8U) != 0) {
        entry.key_data = net::as_text(input_.take(input_.byte() % 16U));
        entry.engine_name = (ends & 0x8000U) != 0 ? "sip" : "other";
      }
      static_cast<void>(queue.append(entry, version, 8, world_.now));
    }
    // A queue closes a message when it is two seconds old.
    const auto message = queue.take_due(world_.now + std::chrono::seconds(3));
    if (!message) return;
    check_round_trip(*message);
    director_.receive_sync(*message);
  }

  void back_again(unsigned operand) {
    if (world_.wire.kept.empty()) return;
    auto message = world_.wire.kept[operand % world_.wire.kept.size()];
    if ((operand & 16U) != 0 && !message.empty()) {
      const auto at = input_.byte();
      message[at % message.size()] = static_cast<std::byte>(input_.byte());
    }
    director_.receive_sync(message);
  }

  void configuration(unsigned operand) {
    const auto role = (operand & 1U) != 0 ? model::SyncRole::kMaster : model::SyncRole::kBackup;
    switch (operand >> 1U & 7U) {
      case 0:
      case 1:
        static_cast<void>(director_.start_sync_daemon(
            {.role = role, .interface = "int", .sync_id = kSyncId, .group = {}}));
        break;
      case 2:
        static_cast<void>(director_.stop_sync_daemon(role));
        break;
      case 3:
        director_.flush();
        break;
      default: {
        const unsigned kind = input_.byte();
        constexpr std::array kProtocols{net::Protocol::kTcp, net::Protocol::kUdp,
                                        net::Protocol::kSctp, net::Protocol::kUdp};
        world_.serve({.protocol = kProtocols[kind % 4],
                      .is_v6 = (kind & 4U) != 0,
                      .port = net::Port::from_host(80),
                      .method = method_of(kind >> 3U),
                      .flags = kind >> 5U & 1U,
                      .persistence_engine = kind % 4 == 3 ? "sip" : ""});
        break;
      }
    }
  }

  void settings(unsigned operand) {
    auto values = director_.settings();
    std::array fields{&values.sync_version,        &values.sync_ports,
                      &values.sync_persist_mode,   &values.sync_qlen_max,
                      &values.sync_threshold,      &values.sync_period,
                      &values.sync_refresh_period, &values.sync_retries,
                      &values.backup_only,         &values.expire_nodest_conn};
    *fields[operand % fields.size()] = input_.byte() % 8 - 1;
    director_.set_settings(values);
  }

  void wait(unsigned operand) {
    constexpr std::array kUnits{1, 25, 1000, 60000};
    world_.wait(std::chrono::milliseconds(kUnits[operand % 4]) * static_cast<int>(1 + operand / 4));
  }

  void packet(unsigned operand) {
    constexpr std::array kProtocols{net::Protocol::kTcp, net::Protocol::kUdp, net::Protocol::kSctp,
                                    net::Protocol::kTcp};
    const bool is_v6 = (operand & 1U) != 0;
    const bool is_answer = (operand & 2U) != 0;
    const auto client = end(is_v6, 0);
    const auto near = end(is_v6, is_answer ? 6 : 5);
    const auto protocol = kProtocols[operand >> 2U & 3U];
    auto packet =
        engine::test::between(protocol, is_answer ? near : client, is_answer ? client : near);
    const auto detail = input_.byte();
    if (protocol == net::Protocol::kSctp) {
      packet.payload.resize(20);
      packet.payload[0] = static_cast<std::byte>(detail % 16U);
      packet.payload[3] = std::byte{20};
    }
    world_.process(protocol == net::Protocol::kTcp ? engine::test::tcp(packet, detail)
                                                   : engine::test::build(packet),
                   is_answer ? kInside : kOutside);
  }

  static constexpr std::uint8_t kSyncId = 0;

  SyncWorld& world_;
  Input input_;
  engine::Director& director_;
};

}  // namespace
}  // namespace lb::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lb::fuzz::Player(lb::fuzz::serve<lb::fuzz::SyncWorld>(), {data, size}).play();
  return 0;
}
