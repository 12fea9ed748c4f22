#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tool.sh NAME [NAME...] prints the path of each pinned tool, one a line,
# building it first if this version of it is not in the cache yet.
#
#   $(tools/tool.sh golangci-lint) run
#   PATH=$(dirname "$(tools/tool.sh helm4)"):$PATH
#
# The cache is ${XDG_CACHE_HOME:-~/.cache}/vaultferry/tools. An entry's name
# holds a hash of all that the build depends on, so that a changed pin, source
# file or Go version gives a new entry and old checkouts keep theirs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vaultferry/tools

# recipe NAME sets module (folder below tools), package and ldflags.
recipe() {
  ldflags="-s -w"
  case $1 in
    golangci-lint) module=lint package=github.com/golangci/golangci-lint/v2/cmd/golangci-lint ;;
    controller-gen) module=generate package=sigs.k8s.io/controller-tools/cmd/controller-gen ;;
    protoc-gen-go) module=generate package=google.golang.org/protobuf/cmd/protoc-gen-go ;;
    protoc-gen-go-grpc) module=generate package=google.golang.org/grpc/cmd/protoc-gen-go-grpc ;;
    chartgen) module=chartgen package=. ;;
    image) module=image package=. ;;
    plugin) module=plugin package=. ;;
    sbom) module=sbom package=. ;;
    govulncheck) module=vuln package=golang.org/x/vuln/cmd/govulncheck ;;
    helm3)
      module=helm3 package=helm.sh/helm/v3/cmd/helm
      # Helm 3 takes its own version and the Kubernetes version that it
      # renders for from the linker; without them `helm template` assumes a
      # Kubernetes that is too old for any current chart.
      local minor
      minor=$(pinned k8s.io/client-go | cut -d. -f2)
      ldflags+=" -X helm.sh/helm/v3/internal/version.version=$(pinned helm.sh/helm/v3)"
      for p in lint/rules chartutil; do
        ldflags+=" -X helm.sh/helm/v3/pkg/$p.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$p.k8sVersionMinor=$minor"
      done
      ;;
    helm4)
      module=helm4 package=helm.sh/helm/v4/cmd/helm
      ldflags+=" -X helm.sh/helm/v4/internal/version.version=$(pinned helm.sh/helm/v4)"
      ;;
    *)
      echo "tool.sh: no tool is called \"$1\"; the tools are golangci-lint, controller-gen, protoc-gen-go," \
        "protoc-gen-go-grpc, chartgen, image, plugin, sbom, govulncheck, helm3 and helm4" >&2
      return 2
      ;;
  esac
}

# pinned MODULE prints the version of MODULE in the go.mod of $module.
pinned() {
  awk -v m="$1" '$1 == m { print $2; exit } $2 == m { print $3; exit }' "$here/$module/go.mod"
}

# fingerprint prints a hash of all that the build of the recipe depends on.
fingerprint() {
  {
    go version
    echo "$package $ldflags"
    cd "$here/$module"
    find . -type f \( -name go.mod -o -name go.sum -o -name '*.go' \) ! -name '*_test.go' -print0 |
      LC_ALL=C sort -z | xargs -0 sha256sum
  } | sha256sum | cut -c1-16
}

tool() {
  local name=$1 module package ldflags dir
  recipe "$name"
  dir=$cache/$name-$(fingerprint)
  if [[ ! -x $dir/$name ]]; then
    mkdir -p "$dir"
    (
      flock 9
      [[ ! -x $dir/$name ]] || exit 0
      echo "tools: building $name (once; takes up to a few minutes)" >&2
      trap 'rm -f "$dir/$name.tmp"' EXIT
      cd "$here/$module"
      CGO_ENABLED=0 GOFLAGS="-buildvcs=false ${GOFLAGS:-}" GOWORK=off \
        go build -trimpath -gcflags=all=-dwarf=false -ldflags "$ldflags" -o "$dir/$name.tmp" "$package"
      mv "$dir/$name.tmp" "$dir/$name"
    ) 9>"$dir/lock"
  fi
  echo "$dir/$name"
}

if [[ $# -eq 0 || $1 == -h || $1 == --help ]]; then
  sed -n '4,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  [[ $# -gt 0 ]] || exit 2
  exit 0
fi
for name in "$@"; do
  tool "$name"
done
