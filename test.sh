#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing and runs every check and test. The last line counts them.
set -euo pipefail
cd "$(dirname "$0")"
scripts/install-packages
exec scripts/check "$@"
