# Shoal. `make` builds; `make help` lists what else there is.

GO        ?= go
BIN       := bin
TOOLS     := .tools/bin
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS   := -s -w -X github.com/shoal-project/shoal/internal/version.number=$(VERSION)

# Pinned; built from the Go module proxy.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
STATICCHECK   := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# What the tests need, by its Debian names: unit tests compare with umoci, containerd
# and fsck.erofs, and the race detector needs a C compiler.
DEBIAN := gcc libc6-dev erofs-utils busybox-static containerd runc docker.io podman crun skopeo umoci docker-registry iproute2 apache2-utils zstd jq

export CGO_ENABLED ?= 0

.PHONY: build demo test lint unit e2e test-heavy test-kills bench-swarm bench-pull bench-lazy tools deps clean help

build: ## build the programs into bin/, without cgo
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

demo: build ## four peers pull an image at once, then it starts lazily; KEEP=1 leaves them up, MODE=spread, PEERS=4
	$(GO) build -o $(BIN)/demo ./demo
	$(BIN)/demo -bin $(BIN) -peers $(or $(PEERS),4) -mode $(or $(MODE),supernode) $(if $(KEEP),-keep)

test: ## everything that must hold, in under 40 minutes on 2 cores
	./hack/leaks $(MAKE) build lint unit demo e2e

lint: tools ## formatting, vet, staticcheck, layering and the other linters
	@echo '== gofmt'; unformatted=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); \
	  test -z "$$unformatted" || { echo "not formatted, run gofmt -w:"; echo "$$unformatted"; exit 1; }
	@echo '== go vet'; $(GO) vet ./... && $(GO) vet -tags e2e ./test/...
	@cd test/containerd && $(GO) vet ./...
	@echo '== staticcheck'; $(TOOLS)/staticcheck ./... && $(TOOLS)/staticcheck -tags e2e ./test/...
	@echo '== golangci-lint'; $(TOOLS)/golangci-lint run ./...
	@if command -v govulncheck >/dev/null && govulncheck -version >/dev/null 2>&1; then \
	  echo '== govulncheck'; govulncheck ./...; \
	else echo 'SKIP govulncheck: not installed (it needs the network); run it where it is'; fi

unit: deps ## unit tests with the race detector; fuzz seeds run with them
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v /test/e2e)
	$(GO) test -count 1 -run TestMillionEntries ./layer # the race detector takes more memory than the bound

e2e: deps build ## the real programs under docker, containerd, podman and skopeo
	$(GO) test -tags e2e -count 1 -timeout 25m ./test/e2e/...
	cd test/containerd && $(GO) test -count 1 -timeout 10m ./... -args -lazyfs $(CURDIR)/$(BIN)/lazyfs # containerd's own suite

test-heavy: deps build ## mount images of a million entries and of 20 GiB lazily: some minutes, 1 GiB of memory
	$(GO) test -tags e2e -count 1 -timeout 25m -run Heavy -v ./test/e2e -args -heavy

test-kills: deps build ## kill lazyfs and peer 100 times each under readers of all kinds: 4 minutes
	$(GO) test -tags e2e -count 1 -timeout 25m -run TestKilled -v ./test/e2e -args -kills 100

bench-swarm: build ## N hosts of 200 Mbit/s in network namespaces pull at once (root)
	$(GO) run ./bench/swarm $(ARGS)

bench-pull: build ## one node: a cold pull through peer beside a direct one (root)
	$(GO) run ./bench/pull $(ARGS)

bench-lazy: build ## lazily mounted images beside pull and unpack (root; two hours, -quick: 10 minutes)
	$(GO) run ./bench/lazy -bin $(BIN) -v $(ARGS)

tools: $(TOOLS)/golangci-lint $(TOOLS)/staticcheck ## build the pinned linters into .tools/bin

$(TOOLS)/golangci-lint:
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install $(GOLANGCI_LINT)

$(TOOLS)/staticcheck:
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install $(STATICCHECK)

deps: ## install what the tests need (Debian, root); elsewhere say what is missing
	@./hack/deps $(DEBIAN)

clean: ## remove what was built
	rm -rf $(BIN) .tools

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
