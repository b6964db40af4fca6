// SPDX-License-Identifier: Apache-2.0
// Traffic for benchmarks, made in the kernel (BPF_F_TEST_XDP_LIVE_FRAMES).
//
//     sluice_traffic generate CLIENT-NETNS INTERFACE SINK-NETNS INTERFACE SINK-PAYLOAD-OFFSET
//                    CLIENT-ADDRESS SERVICE-ADDRESS PORT DESTINATION-MAC COUNTED-FLOWS
//     sluice_traffic attach NETNS INTERFACE drop|tx|redirect [INTERFACE]
//
// "generate" counts at the sink all packets that come from it, then reads lines from its input, and
// answers each with a line of JSON:
//
//     run packets=N [flows=N] [first=N] [each=N] [block=N] [rate=N] [batch=N] [stamp=1]
//         [flood=N] [seconds=N] [reflect=1]
//
// `flows`, a power of two: packets come from so many in random order; without it each flow has
// `each` packets, `block` flows taking turns. `rate` is packets a second. Of 1000 packets `flood`
// are TCP SYNs of random clients instead. `seconds`: the packets are sent again and again for so
// long. `reflect`: the sink sends the flows' packets back. "attach" puts a bare program on an
// interface until its input ends. Needs root.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <ctime>
#include <iostream>
#include <map>
#include <numeric>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "frame.hpp"
#include "traffic.skel.h"

namespace lb::bench {
namespace {

void enter(const std::string& name) {
  const int file = ::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0 || ::setns(file, CLONE_NEWNET) != 0) fail("cannot enter " + name, errno);
  ::close(file);
}

unsigned index_of(const std::string& interface) {
  const unsigned index = ::if_nametoindex(interface.c_str());
  if (index == 0) fail("no interface " + interface, errno);
  return index;
}

/// The hardware address of an interface of this namespace.
std::array<std::uint8_t, 6> mac_of(const std::string& interface) {
  const int any = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strncpy(request.ifr_name, interface.c_str(), IFNAMSIZ - 1);
  if (any < 0 || ::ioctl(any, SIOCGIFHWADDR, &request) != 0)
    fail("no address of " + interface, errno);
  ::close(any);
  std::array<std::uint8_t, 6> mac{};
  std::memcpy(mac.data(), request.ifr_hwaddr.sa_data, mac.size());
  return mac;
}

/// Native XDP on `interface`, until the process ends.
void attach(const bpf_program* program, const std::string& interface) {
  bpf_link_create_opts options{};
  options.sz = sizeof(options);
  options.flags = XDP_FLAGS_DRV_MODE;
  if (::bpf_link_create(bpf_program__fd(program), static_cast<int>(index_of(interface)), BPF_XDP,
                        &options) < 0) {
    fail("cannot attach to " + interface, errno);
  }
}

std::uint64_t number(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) fail("no number: " + text);
  return value;
}

double seconds_of(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// The upper end of a bucket of delays, in ns.
double delay_of(std::size_t bucket) {
  if (bucket < 2 * TRAFFIC_DELAY_STEPS) return static_cast<double>(bucket + 1);
  const auto shift = bucket / TRAFFIC_DELAY_STEPS - 1;
  return static_cast<double>((bucket - shift * TRAFFIC_DELAY_STEPS + 1) << shift);
}

/// True if there is a line in the input, which is taken: it says so.
bool is_told_to_stop() {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  if (::poll(&input, 1, 0) <= 0) return false;
  std::string line;
  if (std::getline(std::cin, line) && line != "stop") fail("not \"stop\": " + line);
  return true;
}

class Generator {
 public:
  explicit Generator(std::span<char*> words)
      : client_interface_(words[1]), flows_(static_cast<std::uint32_t>(number(words[9]))) {
    object_ = ::traffic_bpf__open();
    if (object_ == nullptr) fail("cannot open the programs");
    object_->rodata->counted_flows = flows_;
    object_->bss->payload_at = static_cast<std::uint32_t>(number(words[4]));
    ::bpf_map__set_max_entries(object_->maps.arrived, std::max(flows_, 1U));
    if (const int error = ::traffic_bpf__load(object_); error != 0) fail("cannot load", -error);
    cpus_ = static_cast<std::size_t>(::libbpf_num_possible_cpus());
    arrived_size_ = std::max<std::size_t>(flows_ * sizeof(std::uint64_t), 4096);
    void* mapped = ::mmap(nullptr, arrived_size_, PROT_READ | PROT_WRITE, MAP_SHARED,
                          bpf_map__fd(object_->maps.arrived), 0);
    if (mapped == MAP_FAILED) fail("cannot map the counters of flows", errno);
    arrived_ = static_cast<std::uint64_t*>(mapped);
    enter(words[2]);
    attach(object_->progs.sink, words[3]);
    enter(words[0]);
    route_ = {.client = words[5],
              .service = words[6],
              .port = static_cast<std::uint16_t>(number(words[7])),
              .source_mac = mac_of(client_interface_),
              .destination_mac = parse_mac(words[8])};
  }

  /// Carries out a line and answers it.
  void run(const std::map<std::string, std::uint64_t>& wanted) {
    const auto get = [&](const char* name, std::uint64_t other) {
      const auto found = wanted.find(name);
      return found == wanted.end() ? other : found->second;
    };
    const auto packets = get("packets", 0);
    if (packets == 0) fail("packets= is missing");
    const auto each = std::max<std::uint64_t>(get("each", 1), 1);
    auto plan = plan_for(route_);
    plan.first_flow = static_cast<std::uint32_t>(get("first", 0));
    plan.is_scattered = wanted.contains("flows") ? 1 : 0;
    plan.flow_mask = static_cast<std::uint32_t>(get("flows", 1) - 1);
    plan.each = static_cast<std::uint32_t>(each);
    plan.block = static_cast<std::uint32_t>(get("block", 1));
    plan.is_stamped = static_cast<std::uint32_t>(get("stamp", 0));
    const auto rate = get("rate", 0);
    plan.interval = rate == 0 ? 0 : 1'000'000'000'000ULL / rate;
    plan.flood_share = static_cast<std::uint32_t>((get("flood", 0) << TRAFFIC_SHARE_SHIFT) / 1000);
    object_->bss->reflects = static_cast<std::uint32_t>(get("reflect", 0));
    object_->bss->plan = plan;
    object_->bss->turn = 0;
    object_->bss->start = 0;
    if (flows_ != 0) std::memset(arrived_, 0, arrived_size_);
    clear();
    const double wall = seconds_of(CLOCK_MONOTONIC);
    const double processor = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    std::uint64_t sent = 0;
    double spent = 0;
    do {
      spent += static_cast<double>(send(plan, packets, get("batch", 64)) * packets);
      sent += packets;
    } while (seconds_of(CLOCK_MONOTONIC) - wall < static_cast<double>(get("seconds", 0)) &&
             !is_told_to_stop());
    const double took = seconds_of(CLOCK_MONOTONIC) - wall;
    const double used = seconds_of(CLOCK_THREAD_CPUTIME_ID) - processor;
    const auto syns = sent * plan.flood_share >> TRAFFIC_SHARE_SHIFT;
    const auto counts = wait_for_rest(sent - syns);
    const auto complete = std::count_if(arrived_, arrived_ + flows_,
                                        [&](std::uint64_t count) { return count >= each; });
    fmt::print(
        "{{\"sent\": {}, \"received\": {}, \"syns_sent\": {}, \"syns_received\": {}, "
        "\"seconds\": {:.9f}, \"cpu_seconds\": {:.9f}, \"ns\": {:.0f}, "
        "\"complete\": {}, \"longest\": {}{}}}\n",
        sent - syns, counts.packets, syns, counts.syns, took, used,
        spent / static_cast<double>(sent), complete, counts.longest, delays());
    std::fflush(stdout);
  }

 private:
  /// Returns the nanoseconds a packet took; the kernel measures, and leaves out what else ran.
  [[nodiscard]] std::uint32_t send(const traffic_plan& plan, std::uint64_t packets,
                                   std::uint64_t batch) const {
    xdp_md context{};
    context.data_end = plan.size;
    context.ingress_ifindex = index_of(client_interface_);
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = plan.frame;
    options.data_size_in = plan.size;
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
    options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    options.batch_size = static_cast<std::uint32_t>(batch);
    options.repeat = static_cast<int>(packets);
    if (::bpf_prog_test_run_opts(bpf_program__fd(object_->progs.generate), &options) != 0) {
      fail("cannot send", errno);
    }
    return options.duration;
  }

  void clear() const {
    const std::uint32_t first = 0;
    const std::vector<traffic_counts> none(cpus_);
    ::bpf_map_update_elem(bpf_map__fd(object_->maps.counts), &first, none.data(), BPF_ANY);
    const std::vector<std::uint64_t> zero(cpus_);
    for (std::uint32_t bucket = 0; bucket < TRAFFIC_DELAYS; ++bucket) {
      ::bpf_map_update_elem(bpf_map__fd(object_->maps.delays), &bucket, zero.data(), BPF_ANY);
    }
  }

  [[nodiscard]] traffic_counts counts() const {
    const std::uint32_t first = 0;
    std::vector<traffic_counts> each(cpus_);
    ::bpf_map_lookup_elem(bpf_map__fd(object_->maps.counts), &first, each.data());
    traffic_counts all{};
    for (const auto& part : each) {
      all.packets += part.packets;
      all.syns += part.syns;
      all.longest = std::max(all.longest, part.longest);
    }
    return all;
  }

  /// Until all packets of flows have come, or none has for a tenth of a second.
  [[nodiscard]] traffic_counts wait_for_rest(std::uint64_t packets) const {
    auto last = counts();
    for (int idle = 0; idle < 50 && last.packets < packets; ++idle) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      const auto now = counts();
      if (now.packets != last.packets) idle = 0;
      last = now;
    }
    return last;
  }

  [[nodiscard]] std::string delays() const {
    std::vector<std::uint64_t> sums;
    std::vector<std::uint64_t> each(cpus_);
    for (std::uint32_t bucket = 0; bucket < TRAFFIC_DELAYS; ++bucket) {
      ::bpf_map_lookup_elem(bpf_map__fd(object_->maps.delays), &bucket, each.data());
      sums.push_back(std::accumulate(each.begin(), each.end(), std::uint64_t{0}));
    }
    const auto all = std::accumulate(sums.begin(), sums.end(), std::uint64_t{0});
    if (all == 0) return "";
    std::string text;
    for (const auto& [name, share] :
         {std::pair{"p50", 0.5}, std::pair{"p99", 0.99}, std::pair{"p99.9", 0.999}}) {
      const auto wanted = static_cast<std::uint64_t>(static_cast<double>(all) * share);
      std::uint64_t seen = 0;
      std::size_t bucket = 0;
      while (bucket + 1 < sums.size() && (seen += sums[bucket]) <= wanted) ++bucket;
      text += fmt::format(", \"{}\": {:.0f}", name, delay_of(bucket));
    }
    return text;
  }

  std::string client_interface_;
  std::uint32_t flows_;
  traffic_bpf* object_ = nullptr;
  std::size_t cpus_ = 0;
  std::size_t arrived_size_ = 0;
  std::uint64_t* arrived_ = nullptr;
  Route route_;
};

void generate(std::span<char*> words) {
  if (words.size() != 10) fail("wrong number of words; see the head of traffic_main.cpp");
  Generator generator(words);
  fmt::print("ready\n");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream text(line);
    std::string word;
    text >> word;
    if (word != "run") fail("unknown command: " + line);
    std::map<std::string, std::uint64_t> wanted;
    while (text >> word) {
      const auto at = word.find('=');
      if (at == std::string::npos) fail("no NAME=NUMBER: " + word);
      wanted[word.substr(0, at)] = number(word.substr(at + 1));
    }
    generator.run(wanted);
  }
}

void attach_bare(std::span<char*> words) {
  if (words.size() < 3) fail("wrong number of words; see the head of traffic_main.cpp");
  auto* object = ::traffic_bpf__open_and_load();
  if (object == nullptr) fail("cannot load the programs; run as root");
  enter(words[0]);
  const std::string action = words[2];
  if (action == "redirect") {
    if (words.size() != 4) fail("redirect where to?");
    const std::uint32_t first = 0;
    const std::uint32_t index = index_of(words[3]);
    if (::bpf_map_update_elem(bpf_map__fd(object->maps.out), &first, &index, BPF_ANY) != 0) {
      fail("cannot set the device", errno);
    }
  }
  attach(action == "redirect" ? object->progs.bare_redirect
         : action == "tx"     ? object->progs.bare_tx
         : action == "drop"   ? object->progs.bare_drop
                              : (fail("unknown action " + action), nullptr),
         words[1]);
  fmt::print("ready\n");
  std::fflush(stdout);
  while (std::cin.get() != EOF) {
  }
}

}  // namespace
}  // namespace lb::bench

int main(int argc, char** argv) {
  const std::span words(argv + 1, static_cast<std::size_t>(argc - 1));
  const std::string command = words.empty() ? "" : words[0];
  if (command == "generate") {
    lb::bench::generate(words.subspan(1));
  } else if (command == "attach") {
    lb::bench::attach_bare(words.subspan(1));
  } else {
    lb::bench::fail("generate or attach? See the head of traffic_main.cpp");
  }
}
