# SPDX-License-Identifier: Apache-2.0
# What a release can be trusted by: see docs/security.md.

FUZZTIME  ?= 10s
# The binaries of each image, and the module whose data tools/image adds to it: the roots that Mozilla trusts.
SBOM_vaultferry := $(foreach part,driver provider controller webhook,--binary $(DIST)/$(PLATFORM)/vaultferry-$(part))

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities in what the code calls (needs the database of Go)
	@tools/vulncheck.sh

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (10s); FUZZ=regexp picks some
	@tools/fuzz.sh $(FUZZTIME) '$(FUZZ)'

.PHONY: sbom
sbom: build ## Write what each image is made of into dist/*.cdx.json (CycloneDX)
	@$(foreach name,$(IMAGES),\
	  "$$(tools/tool.sh sbom)" --name localhost/vaultferry/$(name) --version $(VERSION) --binary $(DIST)/$(PLATFORM)/$(name) $(SBOM_$(name)) \
	    --data "$$(tools/tool.sh image)=golang.org/x/crypto/x509roots/fallback" --output $(DIST)/$(name).cdx.json;)

.PHONY: reproducible
reproducible: images ## Build the images a second time, elsewhere and from nothing, and compare them; SAME_CACHE=1 is quick and says less
	@VERSION=$(VERSION) GOARCH=$(GOARCH) tools/reproducible.sh

.PHONY: publish
publish: ## Push the image IMAGE for amd64 and arm64, each built before, to REGISTRY, and print its digest
	@"$$(tools/tool.sh image)" build --entrypoint /$(IMAGE) --tag $(REGISTRY)/$(IMAGE):$(VERSION) --push \
	  $(foreach arch,amd64 arm64,--binary linux/$(arch)=$(DIST)/linux-$(arch)/$(IMAGE) $(if $(filter vaultferry,$(IMAGE)),\
	    $(foreach part,driver provider controller webhook,--beside linux/$(arch)=$(DIST)/linux-$(arch)/vaultferry-$(part))))
