#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh shows the main jobs of Vaultferry on a real kubelet: a pod reads its Key Vault secrets through workload identity, a wrong federated
# subject is explained and mended, and a new value arrives in the file, in the Kubernetes Secret and, by one restart, in the environment
# variable. An emulator stands in for Azure.
#
#   demo/run.sh                                     a local cluster, as root on Linux
#   DEMO_KUBECONFIG=~/.kube/config \
#   DEMO_LOAD='kind load image-archive' demo/run.sh   an existing cluster; DEMO_LOAD is run with each image's archive
#   DEMO_KUBECONFIG=… DEMO_REGISTRY=ghcr.io/me demo/run.sh   an existing cluster that pulls from a registry you can push to
set -euo pipefail
# shellcheck source=demo/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
started=$SECONDS
cd "$root"

choose_cluster() {
  if foreign; then
    export KUBECONFIG=$DEMO_KUBECONFIG
    [[ -n ${DEMO_LOAD:-}${DEMO_REGISTRY:-} ]] ||
      fail "say how images get into your cluster: DEMO_LOAD='kind load image-archive', or DEMO_REGISTRY=<a registry that you can push to>"
    command -v kubectl >/dev/null || fail "an existing cluster needs kubectl on the PATH"
    return
  fi
  [[ $(uname) == Linux && $(id -u) -eq 0 ]] ||
    fail "a local cluster needs root on Linux; run it as root, or point DEMO_KUBECONFIG at an existing kind, minikube or AKS cluster"
  step "A local Kubernetes, built from Go modules (the first build takes some minutes)"
  cluster=$(cluster_tool)
  "$cluster" --name "$CLUSTER_NAME" up
  KUBECONFIG=$("$cluster" --name "$CLUSTER_NAME" kubeconfig)
  export KUBECONFIG
  kubectl() { "$cluster" --name "$CLUSTER_NAME" kubectl -- "$@"; }
}

deliver_images() {
  step "Images from static binaries, without a container engine"
  make -s -C "$root" images VERSION="$VERSION" >/dev/null
  prefix=localhost/vaultferry
  local name
  for name in vaultferry azure-emulator demo-app; do
    note "$name"
    if ! foreign; then
      "$cluster" --name "$CLUSTER_NAME" load-image "$root/dist/$name.tar" >/dev/null 2>&1 || fail "loading image $name"
    elif [[ -n ${DEMO_REGISTRY:-} ]]; then
      prefix=$DEMO_REGISTRY
      make -s -C "$root" push IMAGE="$name" REGISTRY="$DEMO_REGISTRY" VERSION="$VERSION"
    else
      $DEMO_LOAD "$root/dist/$name.tar" >/dev/null
    fi
  done
  export DEMO_APP_IMAGE=$prefix/demo-app:$VERSION
}

install_chart() {
  step "Vaultferry and the Azure emulator, by Helm"
  local helm again=false
  helm=$("$root/tools/tool.sh" helm4)
  if "$helm" status vaultferry --namespace "$RELEASE_NAMESPACE" >/dev/null 2>&1; then again=true; fi
  "$helm" upgrade --install vaultferry "$root/charts/vaultferry" --namespace "$RELEASE_NAMESPACE" --wait --timeout 3m \
    --set image.repository="$prefix/vaultferry",image.tag="$VERSION" \
    --set enableSecretRotation=true,rotationPollInterval=10s,syncSecret.enabled=true,reload.enabled=true \
    --set emulator.enabled=true,emulator.image.repository="$prefix/azure-emulator",emulator.image.tag="$VERSION" >/dev/null
  if $again; then restart; fi
  show kubectl get pods -n "$RELEASE_NAMESPACE" -l app.kubernetes.io/instance=vaultferry
}

# restart brings up images that were built anew under the same tag, and an emulator that remembers nothing of an earlier run.
restart() {
  local what parts=(deployment/azure-emulator daemonset/secrets-store-csi-driver daemonset/secrets-store-provider-azure deployment/vaultferry-controller)
  for what in "${parts[@]}"; do
    kubectl -n "$RELEASE_NAMESPACE" rollout restart "$what" >/dev/null
  done
  for what in "${parts[@]}"; do
    kubectl -n "$RELEASE_NAMESPACE" rollout status "$what" --timeout=2m >/dev/null
  done
}

# apply fills in the variables of a manifest, shows it and applies it.
apply() {
  local manifest
  manifest=$(fill "$root/demo/manifests/$1")
  printf '%s$ kubectl apply -f demo/manifests/%s%s\n' "$bold" "$1" "$plain"
  sed 's/^/  /' <<<"$manifest"
  kubectl apply -f - <<<"$manifest"
}

fill() {
  local text name
  text=$(<"$1")
  for name in USER_ASSIGNED_CLIENT_ID IDENTITY_TENANT DEMO_APP_IMAGE; do
    text=${text//"\${$name}"/${!name:-}}
  done
  printf '%s\n' "$text"
}

azure_side() {
  step "Azure's side: a vault with two secrets, an identity, its role (the emulator answers to az's words)"
  show az keyvault create --name kv-platform-prod -o tsv --query properties.vaultUri
  note "\$ az keyvault secret set --vault-name kv-platform-prod --name db-connection-string --file -"
  printf 'Server=db;Password=demo-%s' "$RANDOM" |
    az keyvault secret set --vault-name kv-platform-prod --name db-connection-string --file - -o tsv --query id
  note "\$ az keyvault secret set --vault-name kv-platform-prod --name api-key --file -"
  printf 'key-%s' "$RANDOM" | az keyvault secret set --vault-name kv-platform-prod --name api-key --file - -o tsv --query id
  show az identity create --name id-app-secrets -o tsv --query clientId
  USER_ASSIGNED_CLIENT_ID=$(az identity show --name id-app-secrets -o tsv --query clientId)
  IDENTITY_TENANT=$(az identity show --name id-app-secrets -o tsv --query tenantId)
  export USER_ASSIGNED_CLIENT_ID IDENTITY_TENANT
  local scope
  scope=$(az keyvault show --name kv-platform-prod -o tsv --query id)
  show az role assignment create --role 'Key Vault Secrets User' --assignee "$USER_ASSIGNED_CLIENT_ID" --scope "$scope" -o tsv --query name
}

federate() {
  show az identity federated-credential create --name fic-app-secrets --identity-name id-app-secrets \
    --issuer "$issuer" --subject "$1" --audience api://AzureADTokenExchange -o tsv --query subject
}

# await prints the first line that a command gives, within a minute.
await() {
  local what=$1 line
  shift
  for _ in $(seq 120); do
    line=$("$@" 2>/dev/null) && [[ -n $line ]] && { printf '%s\n' "$line"; return; }
    sleep 0.5
  done
  kubectl describe pod -n payments payments-api >&2
  fail "waited a minute in vain for $what"
}

failed_mount() {
  kubectl get events -n payments --field-selector involvedObject.name=payments-api,reason=FailedMount -o jsonpath='{.items[-1:].message}'
}

mistake() {
  step "The commonest mistake: a typo in the federated subject"
  issuer=$(kubectl get --raw /.well-known/openid-configuration | sed 's/.*"issuer":"\([^"]*\)".*/\1/')
  federate system:serviceaccount:payments:app-sas
  kubectl create namespace payments >/dev/null
  apply service-account.yaml
  apply secret-provider-class.yaml
  apply pod.yaml
  step "The pod cannot start, and its event says why and what to do"
  note "\$ kubectl describe pod -n payments payments-api"
  await "the event" failed_mount | fold -s -w 120 | sed 's/^/  /'
}

mend() {
  step "The fix; the pod then starts by itself"
  az identity federated-credential delete --name fic-app-secrets --identity-name id-app-secrets >/dev/null
  federate system:serviceaccount:payments:app-sa
  note "waiting for kubelet's next try (it backs off, so this can take half a minute)"
  show kubectl wait -n payments --for=condition=Ready pod/payments-api --timeout=180s
}

read_secrets() {
  step "The secrets are files in the pod, on a tmpfs of its own"
  show kubectl exec -n payments payments-api -- ls /mnt/secrets-store/
  show kubectl exec -n payments payments-api -- cat /mnt/secrets-store/db-connection-string
  echo
  show kubectl exec -n payments payments-api -- cat /mnt/secrets-store/api/key.txt
  echo
  show kubectl get secretproviderclasspodstatuses -n payments
}

# synced mirrors a file into a Kubernetes Secret, for a workload that reads its environment.
synced() {
  step "A Kubernetes Secret from the mounted file, for a workload that wants an environment variable"
  apply secret-provider-class-synced.yaml
  apply deployment.yaml
  show kubectl rollout status -n payments deployment/payments-worker --timeout=180s
  show kubectl get secret -n payments app-db -o 'jsonpath={.data}'
  echo
  show kubectl get pods -n payments -o custom-columns=POD:.metadata.name,UID:.metadata.uid,STARTED:.status.startTime
}

environment() { kubectl exec -n payments deployment/payments-worker -- env | sed -n 's/^DB_CONNECTION_STRING=//p'; }

# rotated waits until a command prints the value that was written last.
rotated() {
  local what=$1
  shift
  for _ in $(seq 360); do
    if [[ $("$@" 2>/dev/null) == "$value" ]]; then
      note "$((SECONDS - written)) s after the write: $what"
      return
    fi
    sleep 0.5
  done
  fail "waited three minutes in vain for the new value: $what"
}

rotation() {
  step "A new value in the vault; nobody touches the cluster (the driver looks every 10 s here, every 2 minutes by default)"
  value="Server=db;Password=rotated-$RANDOM"
  note "\$ az keyvault secret set --vault-name kv-platform-prod --name db-connection-string --file -"
  printf %s "$value" | az keyvault secret set --vault-name kv-platform-prod --name db-connection-string --file - -o tsv --query id
  written=$SECONDS
  rotated "in the file of payments-api, which was not restarted" kubectl exec -n payments payments-api -- cat /mnt/secrets-store/db-connection-string
  rotated "in the Kubernetes Secret app-db" kubectl get secret -n payments app-db -o 'go-template={{.data.DB_CONNECTION_STRING | base64decode}}'
  rotated "in the environment of payments-worker, after one rolling restart" environment
  show kubectl get pods -n payments -o custom-columns=POD:.metadata.name,UID:.metadata.uid,STARTED:.status.startTime
}

# reset removes what an earlier run of the demo left, so that it can be run again and again.
reset() { kubectl delete namespace payments --ignore-not-found --wait >/dev/null 2>&1; }

farewell() {
  step "Done in $((SECONDS - started)) s. Everything is still running; try:"
  if ! foreign; then
    echo "  export KUBECONFIG=$KUBECONFIG"
    echo "  alias kubectl='$cluster --name $CLUSTER_NAME kubectl --'"
  fi
  cat <<EOF
  kubectl describe pod -n payments payments-api
  kubectl get secretproviderclasspodstatuses -n payments -o yaml
  kubectl logs -n $RELEASE_NAMESPACE deployment/azure-emulator      # Azure's audit log: who read what
  kubectl exec -n $RELEASE_NAMESPACE deployment/azure-emulator -- /azure-emulator --help
  make demo-down
EOF
}

choose_cluster
deliver_images
install_chart
reset
azure_side
mistake
mend
read_secrets
synced
rotation
farewell
