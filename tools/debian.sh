#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# debian.sh PACKAGE:PROOF... installs the Debian packages whose proof, a command
# or a file, is missing. Where it cannot, it says which packages to install.
set -euo pipefail

missing=()
for pair in "$@"; do
  package=${pair%%:*} proof=${pair#*:}
  [[ -e $proof ]] || command -v "$proof" >/dev/null || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
  echo "debian.sh: please install what Debian calls ${missing[*]}" >&2
  exit 1
fi
echo "installing Debian packages: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -20 "$log" >&2
  exit 1
fi
