#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh measures the webhook in a local cluster of its own, which it takes down at the end. Arguments go to the measuring command.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=${VERSION:-v0.1.0-dev}
cluster=(dist/cluster --name bench-webhook)

if [[ $(id -u) -ne 0 ]]; then
  echo "run.sh: a local cluster needs root; with a cluster that has the chart: go run ./bench/webhook --kubeconfig FILE" >&2
  exit 1
fi
trap '"${cluster[@]}" down >/dev/null' EXIT
"${cluster[@]}" up >&2
"${cluster[@]}" load-image dist/vaultferry.tar >&2
kubeconfig=$("${cluster[@]}" kubeconfig)
"$(tools/tool.sh helm4)" install vaultferry charts/vaultferry --kubeconfig "$kubeconfig" --namespace kube-system --wait --timeout 3m \
  --set image.repository=localhost/vaultferry/vaultferry,image.tag="$version" --set provider.enabled=false,controller.enabled=false \
  --set webhook.enabled=true,webhook.azureTenantID=ffffffff-1111-2222-3333-444444444444 >&2
# In a cluster whose API server is on this machine, it and the measuring program take the processors from the webhook, whose pods share the weight of one
# process. Here they take what it leaves, as if they were elsewhere.
"${cluster[@]}" exec -- sh -c 'renice -n 19 -p $(pgrep -x "kube-apiserver|etcd|kube-controller") >/dev/null'
nice -n 19 go run ./bench/webhook --kubeconfig "$kubeconfig" "$@"
