// SPDX-License-Identifier: Apache-2.0
#include "realserver/set_up.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "host/sysctl.hpp"
#include "realserver/host_changes.hpp"
#include "realserver/journal.hpp"
#include "realserver/status_text.hpp"
#include "realserver/wire_check.hpp"

namespace lb::realserver {
namespace {

using host::Outcome;
using host::system_trouble;
using host::trouble;

constexpr int kExitFailure = 1;
constexpr int kExitNotUp = 3;

int fail(std::string_view reason) {
  fmt::print(stderr, "sluice realserver: {}\n", reason);
  return kExitFailure;
}

/// Where this namespace's journal is, and the mark it carries.
struct Place {
  std::filesystem::path journal;
  Journal::Origin origin;
};

Outcome<Place> find_place(const std::filesystem::path& folder) {
  const auto number = host::namespace_id();
  if (!number) return trouble(number.error());
  return Place{.journal = folder / fmt::format("{}.journal", *number),
               .origin = {.boot = host::boot_id(), .network_namespace = *number}};
}

/// Keeps a second command away while one changes things; released by the destructor.
class Lock {
 public:
  static Outcome<Lock> take(const std::filesystem::path& folder) {
    std::error_code failed;
    std::filesystem::create_directories(folder, failed);
    if (failed) {
      return system_trouble(fmt::format("cannot make {}", folder.string()), failed.value());
    }
    const auto path = folder / "lock";
    Lock lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (lock.file_ < 0) return system_trouble(fmt::format("cannot open {}", path.string()), errno);
    if (::flock(lock.file_, LOCK_EX | LOCK_NB) == 0) return lock;
    if (errno == EWOULDBLOCK) return trouble("another `sluice realserver' is at work here");
    return system_trouble(fmt::format("cannot lock {}", path.string()), errno);
  }
  Lock(Lock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  Lock& operator=(Lock&&) = delete;
  ~Lock() {
    if (file_ >= 0) ::close(file_);
  }

 private:
  explicit Lock(int file) : file_(file) {}
  int file_;
};

/// The journal of this boot and namespace; one of an earlier boot is void, for the kernel has
/// forgotten what it tells.
Outcome<std::optional<Journal>> load_journal(const Place& place, bool& is_void) {
  auto journal = Journal::load(place.journal);
  is_void = journal && *journal && (*journal)->origin() != place.origin;
  if (is_void) return std::optional<Journal>();
  return journal;
}

void print_all(std::string_view label, const std::vector<std::string>& sentences) {
  for (const auto& sentence : sentences) fmt::print(stderr, "{}: {}\n", label, sentence);
}

/// Takes back the changes from `first` on, the last first. Returns an error if one cannot be.
Outcome<void> undo(host::Rtnetlink& kernel, const std::vector<Change>& changes,
                   std::size_t first = 0) {
  std::string failed;
  for (auto i = changes.size(); i > first; --i) {
    const auto left = take_back(kernel, changes[i - 1]);
    if (!left) {
      failed += (failed.empty() ? "" : "; ") + left.error();
    } else if (*left) {
      fmt::print(stderr, "note: {}\n", **left);
    }
  }
  if (!failed.empty()) return trouble(failed);
  return {};
}

/// Writes down and carries out each change; when one fails, takes back those before it.
Outcome<void> change_host(host::Rtnetlink& kernel, Journal& journal,
                          const std::vector<Change>& changes) {
  const auto before = journal.changes().size();
  for (const auto& change : changes) {
    auto done = journal.append(change);
    if (done) done = carry_out(kernel, journal.setup(), change);
    if (done) {
      fmt::print("{}\n", text_of(change));
      continue;
    }
    auto written = journal.changes();
    if (!written.empty() && written.back() == change) written.pop_back();
    if (auto undone = undo(kernel, written, before); !undone) {
      return trouble(
          fmt::format("{}; what was done before could not be taken back: {}; try "
                      "`sluice realserver down'",
                      done.error(), undone.error()));
    }
    if (before == 0) {
      if (auto removed = journal.remove(); !removed) return removed;
    }
    return trouble(done.error() + "; nothing was changed");
  }
  return journal.complete();
}

/// `setup` with the interfaces filled in that were not named.
Outcome<Setup> fill_in(Setup setup, const HostState& state, const std::optional<Journal>& journal) {
  if (!setup.interfaces.empty()) return setup;
  setup.interfaces = journal ? journal->setup().interfaces : likely_interfaces(state);
  if (setup.interfaces.empty()) {
    return trouble("no interface is up by which packets could come; name one by --interface");
  }
  return setup;
}

std::string vips_of(const Setup& setup) {
  std::string text;
  for (const auto& vip : setup.vips) text += (text.empty() ? "" : " ") + vip.to_text();
  return text;
}

/// What has to be done, the answers on the wire considered. The plan's refusals are an error.
Outcome<Plan> plan_up(const Setup& setup, const HostState& state, bool is_forced) {
  auto plan = make_plan(setup, state);
  if (plan.refusals.empty() && setup.mode != Mode::kNat) {
    const auto owners = ask_for_vips(setup, state);
    if (!owners) return trouble(owners.error());
    judge_owners(plan, setup.mode, *owners);
    if (is_forced) {
      plan.warnings.insert(plan.warnings.end(), plan.refusals.begin(), plan.refusals.end());
      plan.refusals.clear();
    }
  }
  if (!plan.refusals.empty()) return trouble(fmt::format("{}", fmt::join(plan.refusals, "; ")));
  print_all("warning", plan.warnings);
  print_all("advice", plan.advice);
  return plan;
}

/// Brings `setup` about, noting in `journal`, which is begun if there is none.
Outcome<int> set_up(host::Rtnetlink& kernel, const Place& place, const Setup& setup,
                    std::optional<Journal> journal, bool is_forced) {
  const auto state = read_host(kernel, setup);
  if (!state) return trouble(state.error());
  const auto plan = plan_up(setup, *state, is_forced);
  if (!plan) return trouble(plan.error());
  if (journal && journal->is_complete() && plan->changes.empty()) {
    fmt::print("is up already\n");
    return 0;
  }
  if (!journal) {
    auto created = Journal::create(place.journal, place.origin, setup);
    if (!created) return trouble(created.error());
    journal = *std::move(created);
  }
  if (auto done = change_host(kernel, *journal, plan->changes); !done) return trouble(done.error());
  const auto after = read_host(kernel, setup);
  if (!after) return trouble(after.error());
  const auto left = make_plan(setup, *after).changes;
  if (left.empty()) return 0;
  return trouble(fmt::format("this did not last, something else on this host changes it: {}",
                             text_of(left.front())));
}

Outcome<void> check_privileges() {
  const auto missing = host::missing_privilege();
  if (!missing) return {};
  return trouble(fmt::format("this needs privileges ({} is missing): run as root", *missing));
}

Outcome<int> try_up(const UpOptions& options) {
  if (auto allowed = check_privileges(); !allowed) return trouble(allowed.error());
  const auto lock = Lock::take(options.state);
  if (!lock) return trouble(lock.error());
  const auto place = find_place(options.state);
  if (!place) return trouble(place.error());
  bool is_void = false;
  auto journal = load_journal(*place, is_void);
  if (!journal) return trouble(journal.error());
  auto kernel = host::Rtnetlink::open();
  if (!kernel) return trouble(kernel.error());
  const auto state = read_host(*kernel, options.setup);
  if (!state) return trouble(state.error());
  const auto setup = fill_in(options.setup, *state, *journal);
  if (!setup) return trouble(setup.error());
  if (*journal && (*journal)->setup() != *setup) {
    const auto& present = (*journal)->setup();
    return trouble(
        fmt::format("this host is set up otherwise (mode {}, virtual addresses {}, interfaces {}); "
                    "run `sluice realserver down' first",
                    name_of(present.mode), vips_of(present), fmt::join(present.interfaces, " ")));
  }
  return set_up(*kernel, *place, *setup, *std::move(journal), options.is_forced);
}

Outcome<int> try_down(const UpOptions& options) {
  const auto place = find_place(options.state);
  if (!place) return trouble(place.error());
  std::error_code ignored;  // a folder that cannot be looked at is an error of load_journal
  if (!std::filesystem::exists(place->journal, ignored) && !ignored) {
    fmt::print("nothing is set up\n");
    return 0;
  }
  if (auto allowed = check_privileges(); !allowed) return trouble(allowed.error());
  const auto lock = Lock::take(options.state);
  if (!lock) return trouble(lock.error());
  bool is_void = false;
  auto journal = load_journal(*place, is_void);
  if (!journal) return trouble(journal.error());
  if (!*journal) {
    fmt::print("{}\n", is_void ? "the machine was started anew since `up': nothing of it is left"
                               : "nothing is set up");
    std::filesystem::remove(place->journal, ignored);
    if (ignored) return system_trouble("cannot remove " + place->journal.string(), ignored.value());
    return 0;
  }
  auto kernel = host::Rtnetlink::open();
  if (!kernel) return trouble(kernel.error());
  if (auto undone = undo(*kernel, (*journal)->changes()); !undone) return trouble(undone.error());
  if (auto removed = (*journal)->remove(); !removed) return trouble(removed.error());
  fmt::print("{} changes were taken back\n", (*journal)->changes().size());
  return 0;
}

Outcome<int> try_status(const UpOptions& options) {
  const auto place = find_place(options.state);
  if (!place) return trouble(place.error());
  bool is_void = false;
  const auto journal = load_journal(*place, is_void);
  if (!journal) return trouble(journal.error());
  if (!*journal) {
    if (options.is_json) {
      fmt::print("{}\n", nlohmann::json{{"up", false}}.dump(2));
    } else {
      fmt::print("nothing is set up\n");
    }
    return kExitNotUp;
  }
  auto kernel = host::Rtnetlink::open();
  if (!kernel) return trouble(kernel.error());
  const auto& setup = (*journal)->setup();
  const auto state = read_host(*kernel, setup);
  if (!state) return trouble(state.error());
  const auto plan = make_plan(setup, *state);
  const bool is_fine = (*journal)->is_complete() && plan.changes.empty() && plan.refusals.empty();
  if (options.is_json) {
    fmt::print("{}", status_json(**journal, plan, is_fine));
  } else {
    print_status(**journal, plan, is_fine);
  }
  return is_fine ? 0 : kExitFailure;
}

int finish(const Outcome<int>& result) { return result ? *result : fail(result.error()); }

}  // namespace

Outcome<std::optional<Setup>> present_setup(const std::filesystem::path& folder) {
  const auto place = find_place(folder);
  if (!place) return trouble(place.error());
  bool is_void = false;
  const auto journal = load_journal(*place, is_void);
  if (!journal) return trouble(journal.error());
  if (!*journal) return std::optional<Setup>();
  return std::optional<Setup>((*journal)->setup());
}

int bring_up(const UpOptions& options) { return finish(try_up(options)); }
int take_down(const UpOptions& options) { return finish(try_down(options)); }
int show_status(const UpOptions& options) { return finish(try_status(options)); }

}  // namespace lb::realserver
