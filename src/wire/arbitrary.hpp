// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <string>

#include "model/connection.hpp"
#include "model/destination.hpp"
#include "model/mark_rule.hpp"
#include "model/service.hpp"
#include "model/snat.hpp"
#include "model/sync_daemon.hpp"

/// For tests: RapidCheck generators of model values as the protocol can carry them.
namespace rc {

template <>
struct Arbitrary<lb::net::IpAddress> {
  static Gen<lb::net::IpAddress> arbitrary() {
    using lb::net::IpAddress;
    return gen::oneOf(
        gen::map<std::uint32_t>(
            [](auto word) { return IpAddress::v4(lb::net::Be32::from_host(word)); }),
        gen::map<std::array<std::uint8_t, 16>>([](auto bytes) { return IpAddress::v6(bytes); }));
  }
};

template <>
struct Arbitrary<lb::net::Port> {
  static Gen<lb::net::Port> arbitrary() {
    return gen::map<std::uint16_t>([](auto port) { return lb::net::Port::from_host(port); });
  }
};

template <>
struct Arbitrary<lb::net::Protocol> {
  static Gen<lb::net::Protocol> arbitrary() {
    using enum lb::net::Protocol;
    return gen::element(kTcp, kUdp, kSctp, kEsp, kIp);
  }
};

template <>
struct Arbitrary<lb::model::Name> {
  static Gen<lb::model::Name> arbitrary() {
    return gen::map(gen::container<std::string>(gen::inRange('!', '~')),
                    [](const std::string& text) { return lb::model::Name(text); });
  }
};

template <>
struct Arbitrary<lb::model::PortMatch> {
  static Gen<lb::model::PortMatch> arbitrary() {
    return gen::exec([] {
      using lb::model::PortMatch;
      PortMatch match;
      for (auto left = *gen::inRange<std::size_t>(0, PortMatch::kMaxRanges + 1); left > 0; --left) {
        const auto a = *gen::arbitrary<std::uint16_t>();
        const auto b = *gen::oneOf(gen::just(a), gen::arbitrary<std::uint16_t>());
        match.add({std::min(a, b), std::max(a, b)});
      }
      match.is_negated = match.is_asked() && *gen::arbitrary<bool>();
      return match;
    });
  }
};

template <>
struct Arbitrary<lb::model::MarkRule> {
  static lb::model::PrefixMatch prefix(lb::net::Family family) {
    const auto address =
        *gen::suchThat<lb::net::IpAddress>([&](const auto& a) { return a.family() == family; });
    const auto length = *gen::inRange<unsigned>(0, static_cast<unsigned>(address.size() * 8) + 1);
    return {.address = address.prefix(length),
            .length = static_cast<std::uint8_t>(length),
            .is_negated = *gen::arbitrary<bool>()};
  }
  static Gen<lb::model::MarkRule> arbitrary() {
    return gen::exec([] {
      lb::model::MarkRule rule;
      rule.family = *gen::element(lb::net::Family::kIpv4, lb::net::Family::kIpv6);
      rule.source = prefix(rule.family);
      rule.destination = prefix(rule.family);
      rule.protocol = *gen::element<std::uint8_t>(0, 6, 17, 132, 50, 255);
      if (lb::model::has_ports(rule.protocol)) {
        rule.source_ports = *gen::arbitrary<lb::model::PortMatch>();
        rule.destination_ports = *gen::arbitrary<lb::model::PortMatch>();
        rule.either_port = *gen::arbitrary<lb::model::PortMatch>();
      }
      rule.is_protocol_negated =
          rule.protocol != 0 && !rule.needs_ports() && *gen::arbitrary<bool>();
      rule.interface = *gen::arbitrary<lb::model::Name>();
      rule.is_interface_negated = !rule.interface.empty() && *gen::arbitrary<bool>();
      rule.action = *gen::element(lb::model::MarkAction::kMark, lb::model::MarkAction::kReturn);
      rule.value = *gen::arbitrary<std::uint32_t>();
      rule.mask = *gen::oneOf(gen::just(UINT32_MAX), gen::arbitrary<std::uint32_t>());
      return rule;
    });
  }
};

/// A rule without fault.
template <>
struct Arbitrary<lb::model::SnatRule> {
  static lb::model::SnatRule pool(lb::net::Family family) {
    lb::model::SnatRule rule;
    const bool is_v4 = family == lb::net::Family::kIpv4;
    const auto base = *lb::net::IpAddress::from_text(is_v4 ? "192.0.2.0" : "2001:db8::");
    const auto all = lb::model::AddressRange{.first = base, .last = base};
    std::uint32_t at = 0;
    for (auto count = *gen::inRange(1, 9); count > 0; --count) {
      const auto first = at + *gen::inRange<std::uint32_t>(1, 5);
      at = first + *gen::inRange<std::uint32_t>(0, 3);
      RC_ASSERT(rule.add({.first = all.at(first), .last = all.at(at)}));
    }
    return rule;
  }
  static Gen<lb::model::SnatRule> arbitrary() {
    return gen::exec([] {
      const auto family = *gen::element(lb::net::Family::kIpv4, lb::net::Family::kIpv6);
      auto rule = pool(family);
      const auto name = "r" + std::to_string(*gen::arbitrary<std::uint16_t>());
      rule.name = std::string_view(name);
      rule.family = family;
      rule.inside = Arbitrary<lb::model::MarkRule>::prefix(family);
      rule.destination = Arbitrary<lb::model::MarkRule>::prefix(family);
      rule.inside.is_negated = rule.destination.is_negated = false;
      rule.interface = *gen::arbitrary<lb::model::Name>();
      rule.protocol =
          *gen::element<std::uint8_t>(0, 6, 17, family == lb::net::Family::kIpv4 ? 1 : 58);
      if (*gen::arbitrary<bool>()) {
        rule.ports.first = *gen::inRange<std::uint16_t>(1, 40000);
        rule.ports.last = *gen::inRange<std::uint16_t>(rule.ports.first, 65535);
      }
      rule.client_limit = *gen::arbitrary<std::uint32_t>();
      for (auto* timeout : {&rule.timeouts.tcp, &rule.timeouts.tcp_transitory, &rule.timeouts.udp,
                            &rule.timeouts.icmp}) {
        *timeout = *gen::inRange<std::uint32_t>(0, lb::model::SnatRule::kMaxTimeout + 1);
      }
      if (*gen::inRange(0, 3) != 0) return rule;
      // A static mapping: an inside prefix of the length of the outside one.
      rule.kind = lb::model::SnatKind::kStatic;
      const auto bits = static_cast<unsigned>(rule.inside.address.size() * 8);
      rule.inside.length = static_cast<std::uint8_t>(bits - *gen::inRange<unsigned>(0, 9));
      const bool is_v4 = family == lb::net::Family::kIpv4;
      rule.inside.address = *lb::net::IpAddress::from_text(is_v4 ? "10.1.0.0" : "2001:db8:1::");
      const auto base = *lb::net::IpAddress::from_text(is_v4 ? "192.0.2.0" : "2001:db8::");
      rule.pool = {};
      rule.pool_count = 0;
      const auto last = (1U << (bits - rule.inside.length)) - 1;
      const auto first = lb::model::AddressRange{.first = base, .last = base}.at(256);
      RC_ASSERT(
          rule.add({.first = first,
                    .last = lb::model::AddressRange{.first = first, .last = first}.at(last)}));
      return rule;
    });
  }
};

template <>
struct Arbitrary<lb::model::Counters> {
  static Gen<lb::model::Counters> arbitrary() {
    using C = lb::model::Counters;
    return gen::build<C>(gen::set(&C::connections), gen::set(&C::packets_in),
                         gen::set(&C::packets_out), gen::set(&C::bytes_in),
                         gen::set(&C::bytes_out));
  }
};

template <>
struct Arbitrary<lb::model::Rates> {
  static Gen<lb::model::Rates> arbitrary() {
    using R = lb::model::Rates;
    return gen::build<R>(gen::set(&R::connections), gen::set(&R::packets_in),
                         gen::set(&R::packets_out), gen::set(&R::bytes_in),
                         gen::set(&R::bytes_out));
  }
};

template <>
struct Arbitrary<lb::model::Statistics> {
  static Gen<lb::model::Statistics> arbitrary() {
    using S = lb::model::Statistics;
    return gen::build<S>(gen::set(&S::counters), gen::set(&S::rates));
  }
};

template <>
struct Arbitrary<lb::model::ServiceKey> {
  static Gen<lb::model::ServiceKey> arbitrary() {
    using lb::model::ServiceKey;
    const auto by_address =
        gen::map<std::tuple<lb::net::IpAddress, lb::net::Port, lb::net::Protocol>>(
            [](const auto& parts) {
              ServiceKey key;
              key.address = std::get<0>(parts);
              key.family = key.address.family();
              key.port = std::get<1>(parts);
              key.protocol = std::get<2>(parts);
              return key;
            });
    const auto by_mark = gen::map<std::pair<std::uint32_t, bool>>([](const auto& parts) {
      ServiceKey key;
      key.fwmark = parts.first == 0 ? 1 : parts.first;
      key.family = parts.second ? lb::net::Family::kIpv6 : lb::net::Family::kIpv4;
      key.address = lb::net::IpAddress::any(key.family);
      return key;
    });
    return gen::oneOf(by_address, by_mark);
  }
};

template <>
struct Arbitrary<lb::model::ServiceSpec> {
  static Gen<lb::model::ServiceSpec> arbitrary() {
    using S = lb::model::ServiceSpec;
    return gen::build<S>(gen::set(&S::key), gen::set(&S::scheduler),
                         gen::set(&S::persistence_engine), gen::set(&S::flags),
                         gen::set(&S::flags_mask), gen::set(&S::timeout), gen::set(&S::netmask));
  }
};

template <>
struct Arbitrary<lb::model::TunnelSpec> {
  static Gen<lb::model::TunnelSpec> arbitrary() {
    using T = lb::model::TunnelSpec;
    using enum lb::model::TunnelType;
    return gen::build<T>(gen::set(&T::type, gen::element(kIpip, kGue, kGre)), gen::set(&T::port),
                         gen::set(&T::flags));
  }
};

template <>
struct Arbitrary<lb::model::DestinationSpec> {
  static Gen<lb::model::DestinationSpec> arbitrary() {
    using D = lb::model::DestinationSpec;
    using enum lb::model::ForwardingMethod;
    return gen::build<D>(
        gen::set(&D::address), gen::set(&D::port),
        gen::set(&D::method, gen::element(kMasquerade, kLocalNode, kTunnel, kDirectRoute)),
        gen::set(&D::weight), gen::set(&D::upper_threshold), gen::set(&D::lower_threshold),
        gen::set(&D::tunnel));
  }
};

template <>
struct Arbitrary<lb::net::Endpoint> {
  static Gen<lb::net::Endpoint> arbitrary() {
    using E = lb::net::Endpoint;
    return gen::build<E>(gen::set(&E::address), gen::set(&E::port));
  }
};

template <>
struct Arbitrary<lb::model::ConnectionInfo> {
  static Gen<lb::model::ConnectionInfo> arbitrary() {
    using C = lb::model::ConnectionInfo;
    return gen::build<C>(
        gen::set(&C::protocol), gen::set(&C::client), gen::set(&C::virtual_end),
        gen::set(&C::destination), gen::set(&C::state), gen::set(&C::expires_in),
        gen::set(&C::persistence_engine, gen::just(lb::model::Name("sip"))),
        gen::set(&C::persistence_data, gen::container<std::string>(gen::inRange('!', '~'))),
        gen::set(&C::snat_rule));
  }
};

}  // namespace rc
