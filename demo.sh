#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, and shows Sluice at work between network namespaces.
#     ./demo.sh [--mode nat|dr|tun|snat]...
# Needs root. Touches no interface outside the namespaces that it makes and removes.
set -euo pipefail
cd "$(dirname "$0")"
if [ "$(id -u)" -ne 0 ]; then
  echo "demo.sh: needs root, for network namespaces and XDP: sudo ./demo.sh" >&2
  exit 1
fi
scripts/install-packages
if command -v ccache >/dev/null; then
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
fi
echo "building (a few minutes the first time)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { cmake --preset release && cmake --build --preset release --target sluiced sluice ipvsadm; } \
  >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  echo "demo.sh: the build failed" >&2
  exit 1
fi
rm -f "$log"
# The demonstration cleans up itself, also when it gets a signal.
exec /usr/bin/python3 scripts/demo.py "$@"
