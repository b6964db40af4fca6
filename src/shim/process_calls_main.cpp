// SPDX-License-Identifier: Apache-2.0
// The functions of the C library that execute programs, as the preload library exports them.
#include <spawn.h>
#include <unistd.h>

#include <cerrno>

#include "shim/module_loader.hpp"
#include "shim/next.hpp"

#define LB_EXPORT extern "C" __attribute__((visibility("default")))

namespace lb::shim {
namespace {

constexpr const char* kTrue = "/bin/true";

/// Runs `execute(path)` with what is to be executed, or fails as if that were not there.
template <class Execute>
int judged(const char* path, char* const* arguments, Execute execute) noexcept {
  switch (judge_execution(path, arguments)) {
    case Execution::kAlreadyLoaded:
      return execute(kTrue);
    case Execution::kNoSuchModule:
      errno = ENOENT;
      return -1;
    case Execution::kAsAsked:
      break;
  }
  return execute(path);
}

/// The same for posix_spawn(), which returns the error.
template <class Spawn>
int judged_spawn(const char* path, char* const* arguments, Spawn spawn) noexcept {
  switch (judge_execution(path, arguments)) {
    case Execution::kAlreadyLoaded:
      return spawn(kTrue);
    case Execution::kNoSuchModule:
      return ENOENT;
    case Execution::kAsAsked:
      break;
  }
  return spawn(path);
}

}  // namespace
}  // namespace lb::shim

using namespace lb::shim;

LB_EXPORT int execv(const char* path, char* const arguments[]) noexcept {
  return judged(path, arguments,
                [&](const char* judged_path) { return LB_NEXT(execv)(judged_path, arguments); });
}
LB_EXPORT int execve(const char* path, char* const arguments[], char* const variables[]) noexcept {
  return judged(path, arguments, [&](const char* judged_path) {
    return LB_NEXT(execve)(judged_path, arguments, variables);
  });
}
LB_EXPORT int execvp(const char* path, char* const arguments[]) noexcept {
  return judged(path, arguments,
                [&](const char* judged_path) { return LB_NEXT(execvp)(judged_path, arguments); });
}
LB_EXPORT int execvpe(const char* path, char* const arguments[], char* const variables[]) noexcept {
  return judged(path, arguments, [&](const char* judged_path) {
    return LB_NEXT(execvpe)(judged_path, arguments, variables);
  });
}

LB_EXPORT int posix_spawn(pid_t* process, const char* path,
                          const posix_spawn_file_actions_t* actions,
                          const posix_spawnattr_t* attributes, char* const arguments[],
                          char* const variables[]) {
  return judged_spawn(path, arguments, [&](const char* judged_path) {
    return LB_NEXT(posix_spawn)(process, judged_path, actions, attributes, arguments, variables);
  });
}
LB_EXPORT int posix_spawnp(pid_t* process, const char* path,
                           const posix_spawn_file_actions_t* actions,
                           const posix_spawnattr_t* attributes, char* const arguments[],
                           char* const variables[]) {
  return judged_spawn(path, arguments, [&](const char* judged_path) {
    return LB_NEXT(posix_spawnp)(process, judged_path, actions, attributes, arguments, variables);
  });
}
