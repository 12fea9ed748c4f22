#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# generate.sh makes the files that follow from others:
#
#   api/v1/zz_generated.deepcopy.go        from the types in api/v1
#   charts/vaultferry/templates/crds       from the types in api/v1
#   charts/vaultferry/values.schema.json   from the comments in values.yaml
#   charts/vaultferry/README.md (table)    from the comments in values.yaml
#   docs/reasons.md                        from internal/reason/catalog
#   docs/cli-reference.md, docs/man        from the commands of kubectl vaultferry
#   api/provider/v1alpha1/*.pb.go          from service.proto, needs protoc
#
# generate.sh --check writes nothing and fails if one of them is stale.
set -euo pipefail

case ${1:-} in
  "") check= ;;
  --check) check=--check ;;
  *) sed -n '4,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=tools/tool.sh
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
stale=0

# put FILE TARGET takes a generated file over, or with --check compares it.
put() {
  if [[ -z $check ]]; then
    cmp -s "$1" "$2" || cp "$1" "$2"
  # The version of protoc is named in what it makes, and any version will do.
  elif ! diff -q <(grep -v '^// -* *	* *protoc  ' "$1") <(grep -v '^// -* *	* *protoc  ' "$2") >/dev/null 2>&1; then
    echo "$2 is stale: run tools/generate.sh" >&2
    stale=1
  fi
}

controller_gen=$("$tools" controller-gen)
chartgen=$("$tools" chartgen)

"$controller_gen" object paths=./api/v1 "output:object:dir=$scratch"
{ printf '// SPDX-License-Identifier: Apache-2.0\n\n'; cat "$scratch/zz_generated.deepcopy.go"; } >"$scratch/deepcopy.go"
put "$scratch/deepcopy.go" api/v1/zz_generated.deepcopy.go

"$controller_gen" crd paths=./api/v1 "output:crd:dir=$scratch/crds"
"$chartgen" crds --chart charts/vaultferry --from "$scratch/crds" $check || stale=1
"$chartgen" values --chart charts/vaultferry $check || stale=1

go run ./internal/reason/catalog/docgen >"$scratch/reasons.md"
put "$scratch/reasons.md" docs/reasons.md

go run ./cmd/kubectl-vaultferry manual --man "$scratch/man" --reference "$scratch/cli-reference.md"
put "$scratch/cli-reference.md" docs/cli-reference.md
[[ -n $check ]] || mkdir -p docs/man
for page in "$scratch"/man/*; do
  put "$page" "docs/man/${page##*/}"
done

proto=api/provider/v1alpha1
if command -v protoc >/dev/null; then
  protoc -I "$proto" \
    --plugin="$("$tools" protoc-gen-go)" --go_out="$scratch" --go_opt=paths=source_relative \
    --plugin="$("$tools" protoc-gen-go-grpc)" --go-grpc_out="$scratch" --go-grpc_opt=paths=source_relative \
    service.proto
  put "$scratch/service.pb.go" "$proto/service.pb.go"
  put "$scratch/service_grpc.pb.go" "$proto/service_grpc.pb.go"
else
  echo "generate.sh: leaving $proto as it is: there is no protoc (apt-get install protobuf-compiler)" >&2
fi

exit "$stale"
