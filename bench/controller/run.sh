#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh measures the reload controller against a local cluster of its own, which it takes down at the end. Arguments go to the measuring command.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=(dist/cluster --name bench-controller)

if [[ $(id -u) -ne 0 ]]; then
  echo "run.sh: a local cluster needs root; with another cluster: go run ./bench/controller --kubeconfig FILE" >&2
  exit 1
fi
trap '"${cluster[@]}" down >/dev/null' EXIT
"${cluster[@]}" up >&2
"$(tools/tool.sh helm4)" template vaultferry charts/vaultferry --show-only 'templates/crds/*.yaml' | "${cluster[@]}" kubectl -- apply --server-side -f - >&2
go run ./bench/controller --kubeconfig "$("${cluster[@]}" kubeconfig)" "$@"
