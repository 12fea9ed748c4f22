#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# vulncheck.sh looks for known vulnerabilities that the code of this module, and of those that end up in an image or on a user's machine, calls.
# Exit status: 0 none, 3 some (as govulncheck), 1 it could not be told, for example without the database.
set -euo pipefail
cd "$(dirname "$0")/.."
check=$(tools/tool.sh govulncheck)
database=$(go env GOVULNDB 2>/dev/null || true)
database=${database:-${GOVULNDB:-https://vuln.go.dev}}
result=0
# The smallest first: whether the database can be reached is known soon.
for module in tools/sbom tools/image .; do
  status=0
  output=$("$check" -C "$module" -db "$database" ./... 2>&1) || status=$?
  if grep -qE 'fetching vulnerabilities|vuln\.go\.dev.*(dial|lookup|timeout|Forbidden|refused)|reading .*index/(db|modules)\.json' <<<"$output"; then
    echo "vulncheck: nothing was checked: the vulnerability database $database cannot be reached from here (GOVULNDB names a copy)" >&2
    exit 1
  fi
  echo "== $module"
  printf '%s\n' "$output"
  [[ $status -eq 0 ]] || result=$status
done
exit "$result"
