#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# node.sh prints the path of a Node.js that is new enough for the Azure SDK for
# JavaScript: the one on the PATH if it is, else one that it installs into the
# cache (${XDG_CACHE_HOME:-~/.cache}/vaultferry/node), pinned by
# node/package-lock.json. For that it needs npm, and installs Debian's if it is
# missing and the machine allows it.
set -euo pipefail

oldest=22
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

new_enough() {
  local version
  version=$("$1" --version 2>/dev/null) || return 1
  version=${version#v}
  [ "${version%%.*}" -ge "$oldest" ]
}

if command -v node >/dev/null && new_enough node; then
  command -v node
  exit
fi

hash=$(sha256sum "$here/node/package-lock.json" | cut -c1-16)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/vaultferry/node/$hash
for arch in x64 arm64; do
  node=$dir/node_modules/node-linux-$arch/bin/node
  if new_enough "$node"; then
    echo "$node"
    exit
  fi
done

if [ "$(uname -s)" != Linux ]; then
  echo "node.sh: install Node.js $oldest or newer" >&2
  exit 1
fi
"$here/../../tools/debian.sh" npm:npm || {
  echo "node.sh: or install Node.js $oldest or newer" >&2
  exit 1
}

echo "node.sh: installing Node.js $oldest into $dir" >&2
mkdir -p "$(dirname "$dir")"
tmp=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
cp "$here/node/package.json" "$here/node/package-lock.json" "$here/node/.npmrc" "$tmp"
(cd "$tmp" && npm ci --ignore-scripts --no-progress >&2)
# Whoever comes second finds the first one's.
mv -T "$tmp" "$dir" 2>/dev/null || true
for arch in x64 arm64; do
  node=$dir/node_modules/node-linux-$arch/bin/node
  if new_enough "$node"; then
    echo "$node"
    exit
  fi
done
echo "node.sh: no Node.js for this machine ($(uname -m)); install $oldest or newer" >&2
exit 1
