# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION  ?= v0.1.0-dev
GOARCH   ?= $(shell go env GOARCH)
DIST     := dist
PLATFORM := linux-$(GOARCH)
LDFLAGS  := -s -w -X main.version=$(VERSION)
IMAGES   := vaultferry azure-emulator demo-app thirdparty sdkapp
# What an image has besides the binary of its name. Driver, provider, controller and webhook have a binary each that links nothing else: see docs/footprint.md.
WITH_vaultferry := $(foreach part,driver provider controller webhook,--beside linux/$(GOARCH)=$(DIST)/$(PLATFORM)/vaultferry-$(part))
WITH_demo-app   := --link /ls --link /cat --link /env
PLUGIN_PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
# Without the tracing pages of gRPC, which nobody serves, 3 MB of templates stay out of every process of a node.
NODE     := grpcnotrace
# gRPC and the driver's client of the API server have an HTTP/2 of their own (golang.org/x/net/http2): the one in net/http is left out. The
# provider's HTTPS clients so speak HTTP/1.1, over a few connections that are kept.
SLIM     := $(NODE),nethttpomithttp2
# What is built, vetted and tested without the race detector shares its packages in Go's cache: their flags are the same, here and in tools/tool.sh.
export GOFLAGS := -trimpath -gcflags=all=-dwarf=false -tags=$(NODE) $(GOFLAGS)
STATIC   := CGO_ENABLED=0
GO_BUILD := $(STATIC) GOOS=linux GOARCH=$(GOARCH) go build -ldflags '$(LDFLAGS)'

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## Install the Debian packages that the tests need (root, Debian)
	@tools/debian.sh gcc:gcc libc6-dev:/usr/include/stdlib.h

.PHONY: build
build: build-measured ## Build the static binaries for Linux into dist/
	$(GO_BUILD) -o $(DIST)/$(PLATFORM)/vaultferry ./cmd/vaultferry
	$(GO_BUILD) -tags vaultferry_webhook,$(NODE) -o $(DIST)/$(PLATFORM)/vaultferry-webhook ./cmd/vaultferry
	$(GO_BUILD) -o $(DIST)/$(PLATFORM)/kubectl-vaultferry ./cmd/kubectl-vaultferry
	ln -sf kubectl-vaultferry $(DIST)/$(PLATFORM)/kubectl_complete-vaultferry
	$(GO_BUILD) -o $(DIST)/$(PLATFORM)/demo-app ./demo/app
	$(GO_BUILD) -o $(DIST)/$(PLATFORM)/thirdparty ./test/thirdparty
	$(GO_BUILD) -o $(DIST)/$(PLATFORM)/sdkapp ./test/sdkapp

# What benchmarks measure by itself, without an image.
.PHONY: build-measured
build-measured:
	@mkdir -p $(DIST)/$(PLATFORM)
	$(GO_BUILD) -tags vaultferry_driver,$(SLIM) -o $(DIST)/$(PLATFORM)/vaultferry-driver ./cmd/vaultferry
	$(GO_BUILD) -tags vaultferry_provider,$(SLIM) -o $(DIST)/$(PLATFORM)/vaultferry-provider ./cmd/vaultferry
	$(GO_BUILD) -tags vaultferry_controller,$(NODE) -o $(DIST)/$(PLATFORM)/vaultferry-controller ./cmd/vaultferry
	$(GO_BUILD) -o $(DIST)/$(PLATFORM)/azure-emulator ./cmd/azure-emulator

.PHONY: images
images: build ## Build the container images into dist/*.tar, without a container engine
	@$(foreach name,$(IMAGES),\
	  "$$(tools/tool.sh image)" build --binary linux/$(GOARCH)=$(DIST)/$(PLATFORM)/$(name) --entrypoint /$(name) $(WITH_$(name)) \
	    --tag localhost/vaultferry/$(name):$(VERSION) --output $(DIST)/$(name).tar >/dev/null;)

.PHONY: plugin
plugin: ## Build kubectl vaultferry for every platform into dist/plugin/: archives, and the manifest for krew
	$(foreach p,$(PLUGIN_PLATFORMS),CGO_ENABLED=0 GOOS=$(firstword $(subst /, ,$(p))) GOARCH=$(lastword $(subst /, ,$(p))) \
	  go build -trimpath -ldflags '$(LDFLAGS)' -o $(DIST)/$(subst /,-,$(p))/ ./cmd/kubectl-vaultferry;)
	"$$(tools/tool.sh plugin)" --version $(VERSION) --out $(DIST)/plugin \
	  $(foreach p,$(PLUGIN_PLATFORMS),--binary $(p)=$(DIST)/$(subst /,-,$(p))/kubectl-vaultferry)

.PHONY: push
push: build ## Push the image IMAGE to REGISTRY
	"$$(tools/tool.sh image)" build --binary linux/$(GOARCH)=$(DIST)/$(PLATFORM)/$(IMAGE) --entrypoint /$(IMAGE) $(WITH_$(IMAGE)) \
	  --tag $(REGISTRY)/$(IMAGE):$(VERSION) --push

.PHONY: cluster
cluster: ## Build the local cluster's command into dist/
	@mkdir -p $(DIST)
	@$(STATIC) go -C test/cluster build -o $(CURDIR)/$(DIST)/cluster .

.PHONY: test
test: deps test-unit test-modules test-e2e ## Run all tests: unit, integration and (as root) end to end

.PHONY: test-unit
test-unit: ## Run the unit and integration tests of the main module, with the race detector
	$(STATIC) go vet ./...
	$(foreach part,driver provider controller webhook,$(STATIC) go vet -tags vaultferry_$(part),$(NODE) ./cmd/vaultferry;)
	CGO_ENABLED=1 go test -race ./api/... ./bench/... ./cmd/... ./demo/... ./internal/... $(wildcard ./test/integration) $(wildcard ./test/sdk) $(wildcard ./test/chart) ./test/docs

.PHONY: test-modules
test-modules: cluster ## Run the tests of the nested modules; as root they start local clusters
	if [[ $$(id -u) -eq 0 ]]; then $(DIST)/cluster build >/dev/null; fi
	$(STATIC) go -C test/cluster vet ./...
	$(STATIC) go -C test/cluster test -timeout 15m ./...
	$(STATIC) go -C test/alerts test ./...
	$(STATIC) go -C tools/image test ./...
	$(STATIC) go -C tools/chartgen test ./...
	$(STATIC) go -C tools/plugin test -count=1 ./... # it reads this file, which the cache does not see
	$(STATIC) go -C tools/sbom test ./...
	$(STATIC) go -C tools/workflows test ./...

# Scenarios mostly wait for kubelet: several go side by side on two cores.
E2E_AT_ONCE ?= 4

.PHONY: test-e2e
test-e2e: cluster images ## Run the end-to-end tests on a local cluster (root)
	VERSION=$(VERSION) $(STATIC) go test -count=1 -timeout 40m ./test/e2e -at-once $(E2E_AT_ONCE)

.PHONY: bench
bench: build-measured cluster $(DIST)/bench.yaml ## Measure what a node costs: publish, refresh, memory, requests, growth (root, Linux); see bench/README.md
	$(STATIC) go build -o $(DIST)/bench ./bench/node
	$(DIST)/bench --driver=$(DIST)/$(PLATFORM)/vaultferry-driver --provider=$(DIST)/$(PLATFORM)/vaultferry-provider --controller=$(DIST)/$(PLATFORM)/vaultferry-controller --emulator=$(DIST)/$(PLATFORM)/azure-emulator $(BENCH_FLAGS)

.PHONY: $(DIST)/bench.yaml
$(DIST)/bench.yaml:
	@mkdir -p $(DIST)
	"$$(tools/tool.sh helm4)" template vaultferry charts/vaultferry --namespace kube-system --set enableSecretRotation=true,controller.events.endpoint=https://eg-bench.westeurope-1.eventgrid.azure.net \
	  --set controller.events.topic=keyvault,controller.events.subscription=vaultferry,controller.events.clientID=bench,controller.events.tenantID=bench > $@

.PHONY: bench-scale
bench-scale: cluster $(DIST)/bench.yaml ## Count what 500 hollow nodes ask of Key Vault, Entra ID and the API server (root, Linux); see docs/scale.md
	$(STATIC) go build -o $(DIST)/scale ./bench/scale
	$(DIST)/scale $(BENCH_FLAGS)

.PHONY: scale-docs
scale-docs: ## Draw docs/scale.svg and print the tables of docs/scale.md that are arithmetic
	$(STATIC) go run ./bench/scale --arithmetic --interval=2m --namespaces=5 --plot=docs/scale.svg -o markdown

.PHONY: faults
faults: cluster images ## Break things under load, one after another, with the results in dist/faults.md; see docs/reliability.md (root)
	VERSION=$(VERSION) $(STATIC) go test -count=1 -timeout 40m ./test/e2e -run '^TestFaults$$' -v -faults -fault-report $(CURDIR)/$(DIST)/faults.md

.PHONY: bench-provider-memory
bench-provider-memory: build-measured ## Measure the memory of the Azure provider with 1,000 objects in use; see docs/footprint.md
	$(STATIC) go run ./bench/provider-memory --provider=$(DIST)/$(PLATFORM)/vaultferry-provider --emulator=$(DIST)/$(PLATFORM)/azure-emulator $(BENCH_FLAGS)

.PHONY: bench-webhook
bench-webhook: cluster images ## Measure the webhook with 10,000 ServiceAccounts and 2,000 pods at once, on a local cluster (root); see docs/webhook.md
	VERSION=$(VERSION) bench/webhook/run.sh $(BENCH_FLAGS)

.PHONY: bench-controller
bench-controller: cluster build-measured ## Measure the reload controller with 1,000 workloads and 1,000 Secrets, on a local cluster (root); see docs/footprint.md
	bench/controller/run.sh --controller=$(DIST)/$(PLATFORM)/vaultferry-controller $(BENCH_FLAGS)

.PHONY: lint
lint: ## Run the linters
	"$$(tools/tool.sh golangci-lint)" run ./...

.PHONY: generate
generate: ## Regenerate code, CRDs, the chart's schema, docs/reasons.md, docs/cli-reference.md and the man pages
	tools/generate.sh

.PHONY: demo
demo: ## Show a pod reading its secrets through workload identity, on a local cluster or on DEMO_KUBECONFIG
	@VERSION=$(VERSION) demo/run.sh

.PHONY: demo-down
demo-down: ## Remove the demo
	@demo/down.sh

.PHONY: clean
clean: ## Remove what was built in this checkout
	rm -rf $(DIST)

include tools/trust.mk
