#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# reproducible.sh compares the images in dist/, as `make images` has just built them here, with those of a second build: a clone of the same commit in
# another directory, with an empty build cache of its own, so that nothing of the first build can come back out of a cache. That is one
# build from nothing, about as long as the first on a new machine.
#
# SAME_CACHE=1 lets the second build use this machine's cache. It shows that linking, paths and archives vary with nothing, and
# takes seconds; it says nothing about the compiler, whose output comes from the cache.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ -n $(git status --porcelain) ]]; then
  echo "reproducible: there are changes that are not committed, which Go notes in every binary: commit them or put them aside" >&2
  exit 2
fi
elsewhere=$(mktemp -d)
trap 'chmod -R u+w "$elsewhere"; rm -rf "$elsewhere"' EXIT
git clone -q . "$elsewhere/another/place"
git -C "$elsewhere/another/place" checkout -q "$(git rev-parse HEAD)"
if [[ -z ${SAME_CACHE:-} ]]; then
  export GOCACHE=$elsewhere/cache
fi
make -C "$elsewhere/another/place" --no-print-directory images VERSION="${VERSION:?}" GOARCH="${GOARCH:?}" >/dev/null
different=0
for archive in dist/*.tar; do
  here=$(sha256sum <"$archive" | cut -d' ' -f1)
  there=$(sha256sum <"$elsewhere/another/place/$archive" | cut -d' ' -f1)
  if [[ $here == "$there" ]]; then
    echo "same       $here  $archive"
  else
    echo "DIFFERENT  $here  $archive, $there elsewhere" >&2
    different=1
  fi
done
exit "$different"
