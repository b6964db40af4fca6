// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "doctor/check.hpp"

/// The checks of the table in check.cpp.
namespace lb::doctor {

#define LB_DIRECTOR_CHECK(name) \
  void name(const DirectorFacts& director, const Facts& facts, Findings& findings)
#define LB_SERVER_CHECK(name) \
  void name(const ServerFacts& server, const Facts& facts, Findings& findings)

// address_checks.cpp
LB_DIRECTOR_CHECK(director_owns_vips);
LB_SERVER_CHECK(server_owns_vips);
LB_DIRECTOR_CHECK(only_director_answers);
LB_SERVER_CHECK(only_one_answers);
LB_SERVER_CHECK(server_is_silent);
LB_SERVER_CHECK(server_announces_own);

// route_checks.cpp
LB_DIRECTOR_CHECK(servers_answer);
LB_DIRECTOR_CHECK(direct_servers_are_near);
LB_DIRECTOR_CHECK(nat_answers_return);
LB_SERVER_CHECK(server_default_route);
LB_SERVER_CHECK(server_filters_loosely);
LB_DIRECTOR_CHECK(director_forwards);
LB_DIRECTOR_CHECK(director_sends_no_redirects);
LB_SERVER_CHECK(server_takes_no_redirects);

// tunnel_checks.cpp
LB_DIRECTOR_CHECK(tunnels_have_room);
LB_SERVER_CHECK(server_tells_segments);
LB_SERVER_CHECK(server_strips_tunnels);

// device_checks.cpp
LB_DIRECTOR_CHECK(interfaces_are_served);
LB_DIRECTOR_CHECK(xdp_is_native);
LB_DIRECTOR_CHECK(veth_peers_finish_frames);
LB_DIRECTOR_CHECK(queues_share);

// snat_checks.cpp
LB_DIRECTOR_CHECK(snat_pools_are_answered);
LB_DIRECTOR_CHECK(snat_sides_are_served);
LB_DIRECTOR_CHECK(snat_has_ports);
LB_DIRECTOR_CHECK(snat_refuses_nobody);

// load_checks.cpp
LB_DIRECTOR_CHECK(table_has_room);
LB_DIRECTOR_CHECK(director_is_healthy);
LB_DIRECTOR_CHECK(services_have_servers);
LB_DIRECTOR_CHECK(firewall_of_director);
LB_SERVER_CHECK(firewall_of_server);
LB_DIRECTOR_CHECK(conntrack_of_director);
LB_SERVER_CHECK(conntrack_of_server);

#undef LB_DIRECTOR_CHECK
#undef LB_SERVER_CHECK

// Shared words.

/// "192.0.2.10:80", "[2001:db8::1]:80" or "firewall mark 7".
[[nodiscard]] std::string name_of(const model::ServiceKey& key);
/// The name of a link, or its number.
[[nodiscard]] std::string link_name(const Facts& facts, int link);
/// With commas between.
[[nodiscard]] std::string macs_text(const std::vector<net::Mac>& macs);

}  // namespace lb::doctor
