#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# down.sh removes what run.sh made: the local cluster, or from an existing cluster (DEMO_KUBECONFIG) the demo's namespace and release.
set -euo pipefail
# shellcheck source=demo/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$root"
if foreign; then
  export KUBECONFIG=$DEMO_KUBECONFIG
  kubectl delete namespace payments --ignore-not-found
  "$("$root/tools/tool.sh" helm4)" uninstall vaultferry --namespace "$RELEASE_NAMESPACE" --ignore-not-found --wait
  kubectl delete crd --ignore-not-found \
    secretproviderclasses.secrets-store.csi.x-k8s.io secretproviderclasspodstatuses.secrets-store.csi.x-k8s.io
else
  "$(cluster_tool)" --name "$CLUSTER_NAME" down
fi
