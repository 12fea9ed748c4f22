#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# fuzz.sh TIME [PATTERN] runs every fuzz target of the main module for TIME each, such as 10s, one after the other; PATTERN (an extended
# regular expression) picks some by "<package>.<name>". What Go finds worth keeping goes into its cache ($(go env GOCACHE)/fuzz), where the
# next run goes on; an input that fails goes into the package's testdata/fuzz, where every later `go test` tries it again: commit it
# with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?fuzz.sh TIME [PATTERN]} pattern=${2:-.}
count=0 failed=()
while IFS=: read -r file line; do
  package=./$(dirname "$file") name=$(sed -E 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/' <<<"$line")
  grep -qE "$pattern" <<<"$package.$name" || continue
  count=$((count + 1))
  echo "== $package $name"
  go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "$package" || failed+=("$package.$name")
done < <(git grep -E '^func Fuzz[A-Za-z0-9_]*\(' -- 'api/*_test.go' 'cmd/*_test.go' 'internal/*_test.go' 'test/docs/*_test.go' | LC_ALL=C sort)
if [[ $count -eq 0 ]]; then
  echo "fuzz: no target matches $pattern" >&2
  exit 2
fi
if [[ ${#failed[@]} -gt 0 ]]; then
  echo "fuzz: ${#failed[@]} of $count targets failed: ${failed[*]}" >&2
  exit 1
fi
echo "fuzz: $count targets, $time each, no failure"
