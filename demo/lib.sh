# SPDX-License-Identifier: Apache-2.0
# What run.sh and down.sh share: where things are, and how they are shown.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VERSION=${VERSION:-v0.1.0-dev}
# The release's namespace is that of the AKS add-on.
RELEASE_NAMESPACE=kube-system
CLUSTER_NAME=${DEMO_CLUSTER:-demo}

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
else
  bold='' dim='' plain=''
fi

"$root/tools/debian.sh" make:make

step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
note() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# show prints a command as a user would type it, then runs it.
show() {
  printf '%s$' "$bold"
  local word
  for word in "$@"; do
    case $word in
      *[!A-Za-z0-9_./:=,@%+-]*) printf " '%s'" "$word" ;;
      *) printf ' %s' "$word" ;;
    esac
  done
  printf '%s\n' "$plain"
  "$@"
}

# az stands for the Azure command line: the same words, answered by the emulator in the cluster.
az() { kubectl -n "$RELEASE_NAMESPACE" exec -i deployment/azure-emulator -- /azure-emulator "$@"; }

# foreign reports whether the demo runs on a cluster that somebody else made.
foreign() { [[ -n ${DEMO_KUBECONFIG:-} ]]; }

# cluster_tool prints the path of the local cluster's command.
cluster_tool() {
  make -s -C "$root" cluster >&2
  echo "$root/dist/cluster"
}
