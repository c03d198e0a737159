# Rollcall: build, run and test. "make" lists the targets.
#
# A Linux machine with Go, git and make is enough. "make deps" installs what else the tests need,
# with apt-get. golangci-lint and esbuild are built at a pinned version into the user's cache
# folder.

GOLANGCI_LINT_VERSION := v2.15.0
ESBUILD_VERSION := v0.28.2
FUZZTIME ?= 5s
# For data that a plugin can send, which decides whether a customer can end the process.
PLUGIN_FUZZTIME ?= 15s
# Number of times that "make faults" stops Caddy in each situation.
STOPS ?= 50
# Number of times that "make faults" runs each scenario of a cluster with faults.
SCENARIOS ?= 20
# Number of times that it lets a cluster with faults send events: 200, unless SCENARIOS is set.
EVENT_SCENARIOS ?= $(if $(filter file,$(origin SCENARIOS)),200,$(SCENARIOS))
# Number of random simulations of a cluster that "make faults" runs.
SEEDS ?= 100000

# The flags of xcaddy, for every command: lint, vet, tests and build then share the build cache,
# which saves minutes. Only the race detector needs cgo.
export GOFLAGS := -buildvcs=false -trimpath -tags=nobadger,nomysql,nopgx
export CGO_ENABLED := 0

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rollcall
# A linter built with an older Go refuses newer code, so the version of Go is part of its path.
LINT := $(CACHE)/golangci-lint-$(GOLANGCI_LINT_VERSION)-$(shell go env GOVERSION)/golangci-lint
# Folder for Node.js, if Debian's is too old; see deps.sh.
export ROLLCALL_NODE := $(CACHE)/node
# Folder for the AssemblyScript compiler; see deps.sh.
export ROLLCALL_ASSEMBLYSCRIPT := $(CACHE)/assemblyscript
# Folder for React and Phoenix, which tests use with client.js; see deps.sh.
export ROLLCALL_BROWSER_NPM := $(CACHE)/browser
# Folder for the suites of pusher-js and pusher; see deps.sh.
export ROLLCALL_PUSHER_NPM := $(CACHE)/pusher
# Bundles client.js for tests.
export ROLLCALL_ESBUILD := $(CACHE)/esbuild-$(ESBUILD_VERSION)/esbuild
export PATH := $(ROLLCALL_NODE)/node_modules/.bin:$(PATH)

CADDY := $(CURDIR)/bin/caddy
export ROLLCALL_CADDY := $(CADDY)
# The list includes folders, whose times change when a file is deleted.
CADDY_SOURCES := xcaddy.json go.mod go.sum docs/embed.go $(wildcard docs/*.yaml) $(shell find $(wildcard presence plugins caddymodule clients) tools/xcaddy \
	-name testdata -prune -o ! -name '*_test.*' -print)

# Modules besides the root module.
MODULES := bench tools/gotest tools/kubeschema tools/xcaddy plugins/sdk/go examples/mask-email examples/roles
GOTEST = $(CURDIR)/bin/gotest -name $@ $(REPORT)
# LIBRARY lists the packages to import, and IN_PROCESS those whose tests need no built binary and
# gain from the race detector, the longest first; the tests of the SDKs build and run guests one after
# the other.
# Listing takes time, so it is done only where needed.
LIBRARY = $(shell go list ./... | grep -v /test/)
IN_PROCESS = ./presence/cluster $(shell go list ./... | grep -v -E '/(test/(dist|e2e|docs|browser|examples|pusher)|plugins/sdk)(/|$$)|/presence/cluster$$')

# Packages that "race" leaves out, or whose tests differ with the race detector: they run without it
# too. Of presence/cluster, only the number of simulations differs.
UNRACED = ./plugins/sdk/... $(addprefix ./,$(sort $(filter-out plugins/sdk/ presence/cluster/,$(dir \
	$(shell grep -rlE --include='*_test.go' '^//go:build !?race$$' presence plugins caddymodule internal)))))
SIMULATIONS = -run='^(TestSimulation|TestAssignmentsAreLinearizable)$$' ./presence/cluster

# both runs two commands at the same time, and shows the output of the second one at the end. It fails
# if one of them fails. The shell lets background commands ignore Ctrl-C, hence the trap.
both = $(2) >bin/$@.log 2>&1 & second=$$!; trap "kill $$second" INT TERM; \
	$(1); status=$$?; wait $$second; status=$$((status | $$?)); cat bin/$@.log; exit $$status

STEP = @printf '\n==> %s %s\n' "$$(date +%T)" $@

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help build run cluster dist test deps tidy-check tools vet lint unit race golden integration caddyfiles e2e examples docs browser pusher fuzz \
	beside unraced tree-before tree-after bench soak faults fmt clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: bin/caddy ## build bin/caddy from xcaddy.json, if a source changed

bin/caddy: $(CADDY_SOURCES)
	$(STEP)
	@echo 'Building Caddy with Rollcall: minutes the first time, seconds afterwards.'
	go run -C tools/xcaddy . -config $(CURDIR)/xcaddy.json -output $(CADDY)

run: build ## serve the demo of the Caddyfile on http://localhost:8080
	@echo 'The demo comes up on http://localhost:8080. Ctrl-C stops it.'
	@exec bin/caddy run --config Caddyfile

dist: ## build the binaries, packages, lists of modules and checksums of a release into bin/dist
	$(STEP)
	scripts/dist.sh

cluster: build bin/cluster-control ## run three pods in two data centers on this machine, see examples/cluster
	@exec examples/cluster/run

bin/cluster-control: examples/cluster/control/main.go
	go build -o $@ ./examples/cluster/control

# The fastest failures come first.
test: REPORT := -report $(CURDIR)/bin/report
test: tree-before deps tidy-check tools vet lint unraced build caddyfiles beside e2e fuzz tree-after
test: ## run everything below and say what was run
	$(STEP)
	@bin/gotest $(REPORT) -total

deps: $(ROLLCALL_ESBUILD) ## install what the tests need, as root by apt-get
	$(STEP)
	@scripts/deps.sh

tidy-check: ## check that go.mod and go.sum are tidy
	$(STEP)
	go mod tidy -diff
	@set -e; for dir in $(MODULES) tools/dist; do echo "go mod tidy -diff ($$dir)"; (cd $$dir && go mod tidy -diff); done

tools: bin/gotest ## test the modules beside the root one: the programs in tools/ and bench/, the Go SDK of plugins
	$(STEP)
	@set -e; for dir in $(MODULES); do (cd $$dir && $(GOTEST) -- -count=1 ./...); done

vet: ## go vet
	$(STEP)
	go vet ./...
	@set -e; for dir in $(MODULES); do echo "go vet ($$dir)"; (cd $$dir && go vet ./...); done

lint: $(LINT) ## golangci-lint, formatting included
	$(STEP)
	$(LINT) run ./...
	@set -e; for dir in $(MODULES); do echo "golangci-lint run ($$dir)"; (cd $$dir && $(LINT) run ./...); done

$(LINT):
	$(STEP)
	GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(ROLLCALL_ESBUILD):
	$(STEP)
	GOBIN=$(@D) go install github.com/evanw/esbuild/cmd/esbuild@$(ESBUILD_VERSION)

unit: bin/gotest ## tests of the packages, golden files included, without the race detector
	$(STEP)
	@$(GOTEST) -- -count=1 $(LIBRARY)

unraced: bin/gotest ## only the tests of packages that have others without the race detector
	$(STEP)
	@$(call both,$(GOTEST) -- -count=1 $(UNRACED),$(GOTEST) -- -count=1 $(SIMULATIONS))

# Three packages at a time: some wait for real time, and those with bubbles use one processor.
race: bin/gotest ## tests of the packages and those with Caddy in process, with the race detector
	$(STEP)
	@CGO_ENABLED=1 $(GOTEST) -- -race -exec=$(CURDIR)/scripts/bubbles.sh -count=1 -p=3 -timeout=20m $(IN_PROCESS)

golden: bin/gotest ## only the golden files of caddy adapt
	$(STEP)
	@$(GOTEST) -- -count=1 -run='^TestAdapt' ./caddymodule

integration: bin/gotest ## only the tests with Caddy in process, without the race detector
	$(STEP)
	@$(GOTEST) -- -count=1 -timeout=20m ./test/integration/...

caddyfiles: bin/caddy ## check the format of every Caddyfile
	$(STEP)
	@set -e; for file in $$(find . -name Caddyfile -not -path './bin/*'); do \
		echo "caddy fmt $$file"; bin/caddy fmt --diff $$file >bin/caddyfile.diff || { cat bin/caddyfile.diff; exit 1; }; done

# These mostly wait, and do not measure time, as some tests of e2e do.
WAITING = docs browser pusher examples
beside: bin/gotest bin/caddy bin/cluster-control $(ROLLCALL_ESBUILD) ## race, and at the same time docs, browser, pusher and examples
	@$(call both,$(MAKE) --no-print-directory REPORT='$(REPORT)' race,$(MAKE) --no-print-directory REPORT='$(REPORT)' $(WAITING))

# Those that run at the same time mostly wait.
e2e: bin/gotest bin/caddy ## tests of the built binary
	$(STEP)
	@$(GOTEST) -- -count=1 -parallel=5 -timeout=20m ./test/e2e/...

examples: bin/gotest bin/caddy ## tests of the examples and the Debian package, against the built binary
	$(STEP)
	@$(GOTEST) -- -count=1 -p=1 -timeout=20m ./test/examples/... ./test/dist/...

docs: bin/gotest bin/caddy ## tests of what README.md and docs/ show, against the built binary
	$(STEP)
	@$(GOTEST) -- -count=1 ./test/docs/...

browser: bin/gotest bin/caddy bin/cluster-control $(ROLLCALL_ESBUILD) ## tests with Chromium
	$(STEP)
	@$(GOTEST) -- -count=1 -p=1 -timeout=20m ./test/browser/...

# The suites mostly wait.
pusher: bin/gotest bin/caddy $(ROLLCALL_ESBUILD) ## tests of the Pusher door: the suites of pusher-js and pusher, Laravel Echo, and the specification
	$(STEP)
	@$(GOTEST) -- -count=1 -parallel=6 -timeout=20m ./test/pusher/...

fuzz: bin/gotest ## run each fuzz target for FUZZTIME (5s), those of plugins for PLUGIN_FUZZTIME (15s)
	$(STEP)
	@$(GOTEST) -fuzztime=$(PLUGIN_FUZZTIME) -- $(filter %/plugins %/internal/wasm %/internal/codec,$(LIBRARY))
	@$(GOTEST) -fuzztime=$(FUZZTIME) -- $(filter-out %/plugins %/internal/wasm %/internal/codec,$(LIBRARY))
	@cd plugins/sdk/go && $(GOTEST) -fuzztime=$(FUZZTIME) -- ./...

bin/gotest: tools/gotest/go.mod $(wildcard tools/gotest/*.go)
	@go build -C tools/gotest -o $(CURDIR)/bin/gotest .

# A test run must not change the work tree.
tree-before:
	@mkdir -p bin && rm -f bin/report && scripts/tree.sh >bin/tree

tree-after:
	$(STEP)
	@scripts/tree.sh | diff bin/tree - || { echo 'the work tree changed during the test run'; exit 1; }

bench: bin/caddy ## measure Rollcall beside its peers into docs/benchmarks.md, then plugins and the benchmarks of the packages
	@scripts/deps.sh bench
	go run -C bench ./cluster >bin/cluster.md
	go run -C bench ./cluster -growth >bin/growth.md
	ROLLCALL_GROWTH=10x100,10x1000,30x300,50x100,10x10000,100x1000 go test -count=1 -timeout=20m -run='^TestGrowth$$' -v ./presence/cluster >bin/simulated.md
	grep '^|' bin/simulated.md >>bin/growth.md
	go run -C bench ./tenants >bin/tenants.md
	go run -C bench ./assign -caddy $(CADDY) >bin/assign.md
	go run -C bench . -caddy $(CADDY) -cluster $(CURDIR)/bin/cluster.md -growth $(CURDIR)/bin/growth.md -tenants $(CURDIR)/bin/tenants.md -assign $(CURDIR)/bin/assign.md -output $(CURDIR)/docs
	go run -C bench ./plugins -caddy $(CADDY)
	go test -count=1 -run=TestAHostilePluginHarmsNoOtherHost -v ./test/e2e | grep p99
	go test -run='^$$' -bench=. -benchmem -p=1 -timeout=30m $(LIBRARY)

soak: bin/caddy ## hold 50,000 connections for 30 minutes of churn and messages, and compare all answers with a model
	go run -C bench ./soak -caddy $(CADDY)

faults: bin/caddy ## stop Caddy STOPS (50) times in each situation, run each scenario of a cluster SCENARIOS (20) times, and simulate SEEDS (100000)
	$(STEP)
	ROLLCALL_SIM_SEEDS=$(SEEDS) go test -count=1 -timeout=240m -run='^(TestSimulation|TestEventsAreRightAtRest)$$' ./presence/cluster
	ROLLCALL_CROWD=10000 go test -count=1 -timeout=10m -run='^TestLargeChannelIsDisconnected$$' -v ./test/e2e
	ROLLCALL_CROWD=10000 go test -count=1 -timeout=10m -run='^TestT33Drain$$' -v ./test/pusher
	ROLLCALL_DOWN=2m go test -count=1 -timeout=15m -run='^TestT32ReceiverIsDown$$' -v ./test/pusher
	ROLLCALL_STOPS=$(STOPS) go test -count=1 -timeout=60m -run='^TestEveryClientIsToldAtOnce$$' -v ./test/e2e
	ROLLCALL_SCENARIOS=$(SCENARIOS) go test -count=1 -parallel=5 -timeout=240m -run='^TestScenario' -skip='^TestScenarioEvents' -v ./test/e2e
	ROLLCALL_SCENARIOS=$(EVENT_SCENARIOS) go test -count=1 -timeout=240m -run='^TestScenarioEvents' -v ./test/e2e

fmt: $(LINT) bin/caddy ## format Go files and Caddyfiles
	$(LINT) fmt ./...
	@set -e; for dir in $(MODULES); do (cd $$dir && $(LINT) fmt ./...); done
	find . -name Caddyfile -not -path './bin/*' -exec bin/caddy fmt --overwrite {} \;

clean: ## remove bin/
	rm -rf bin
