#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# boot.sh COMMAND...: runs COMMAND as root inside Debian's user-mode-linux, a real Linux kernel
# with IPVS that runs as an ordinary process. The guest's root is the host's own file system;
# nothing outside the guest is mounted or loaded. Output and exit status are COMMAND's.
# UML_MEM (1024M) and UML_TIMEOUT (900 seconds) set limits; UML_ARGUMENTS are more words for the
# kernel's command line, such as vec0:transport=tap,ifname=tap0 or LAB_MODULES=ip_vs (no
# others are loaded). SIGTERM ends the guest.
set -u
if [ $# -eq 0 ]; then
  echo "usage: boot.sh COMMAND..." >&2
  exit 2
fi
for program in linux.uml:user-mode-linux modprobe:kmod; do
  if ! PATH=$PATH:/usr/sbin:/sbin command -v "${program%:*}" >/dev/null; then
    echo "boot.sh: ${program%:*} is not installed (package ${program#*:})" >&2
    exit 77
  fi
done

here=$(cd "$(dirname "$0")" && pwd)
job=$(mktemp -d /tmp/ipvs-lab.XXXXXX)
guest=
trap 'rm -rf "$job"' EXIT
trap '[ -n "$guest" ] && kill "$guest"; wait; exit 143' TERM
{
  printf 'cd %q\n' "$PWD"
  printf '%q ' "$@"
  echo
} >"$job/job.sh"

# shellcheck disable=SC2086  # words of a command line
TMPDIR=$job timeout "${UML_TIMEOUT:-900}" linux.uml quiet mem="${UML_MEM:-1024M}" \
  umid="lab.$$" uml_dir="$job" root=/dev/root rootfstype=hostfs rootflags=/ rw \
  init="$here/guest-init" LAB_JOB="$job" con=null con0=null,fd:2 ${UML_ARGUMENTS:-} \
  </dev/null >"$job/kernel.log" 2>&1 &
guest=$!
wait "$guest"

[ -e "$job/out" ] && cat "$job/out"
if [ -e "$job/status" ]; then
  exit "$(cat "$job/status")"
fi
echo "boot.sh: the guest ended without a result; the end of its log:" >&2
tail -20 "$job/kernel.log" >&2
exit 99
