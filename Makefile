# dtcgate. `make help` lists the targets; CONTRIBUTING.md says when to use which.

GO       ?= go
TOOL     := $(GO) tool -modfile=.ci/tools/go.mod
RELEASE  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 30s

# The version comes from RELEASE. Stamping by the go command would fail in a checkout that belongs to another user.
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)

.DEFAULT_GOAL := help
.PHONY: help run build test revocation permutations mutants kills crash differential lint fuzz fuzz-long schemas docs bench clients

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Build, and serve a demo merchant on 127.0.0.1:8080 with its data in ./dtcgate-data
	./bin/dtcgate serve --dev

build: ## Build ./bin/dtcgate, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.release=$(RELEASE)' -o bin/dtcgate ./cmd/dtcgate

test: lint ## Run everything with the race detector, on SQLite and on a real PostgreSQL
	.ci/compiler
	.ci/browser
	$(GO) run ./store/storetest/postgres -- .ci/tests

REVOCATION := NoCallThatStartsAfterARevocation|ACacheOfWhoMayCall|NothingIsDoneAfterARevocation|TheRacesAreLost|EverythingAtOnceOnRights

revocation: ## Take rights away under 100,000 calls and in 5,000 races with what waits, on each engine
	DTCGATE_TEST_REVOCATION_CALLS=100000 DTCGATE_TEST_REVOCATION_RACES=5000 \
		$(GO) run ./store/storetest/postgres -- $(GO) test -count=1 -v -timeout 2h -run '$(REVOCATION)' ./gate ./cmd/dtcgate

permutations: ## Play every order of up to six of the nine things that may happen to an approval, and thousands of all nine
	DTCGATE_TEST_ORDERS=all DTCGATE_TEST_MACHINE_CASES=1000000 $(GO) run ./store/storetest/postgres -- \
		$(GO) test -count=1 -v -timeout 4h -run 'TheMachineIsWhat|WhatIsStoredIs|OfNoOrderOf|EveryOrderOfSteps|WhatHappensAtOnce' ./approvals ./gate

mutants: ## Plant faults in the approvals, one at a time, and require that the tests find every one
	DTCGATE_TEST_MUTANTS=all $(GO) test -count=1 -v -timeout 2h -run EveryPlantedFaultIsFound ./approvals
KILLS := 1000
RACES := 10000

kills: ## Kill servers KILLS times under load, and let people vote at once in RACES races, on each engine
	DTCGATE_TEST_KILLS=$(KILLS) DTCGATE_TEST_VOTE_RACES=$(RACES) $(GO) run ./store/storetest/postgres -- $(GO) test -count=1 -v -timeout 6h \
		-run 'KilledAtAnyTime|KillChecker|TwoPeopleAtOnce|OnePersonAtTwoScreens|AnApprovalIsUsedUpOnce' ./cmd/dtcgate ./gate

DEATHS := 50
CRASH  := $(GO) test -count=1 -v -timeout 6h

# A machine that does other things beside takes QUIET= to be held to its usual time to get ready, and not to its longest.
QUIET ?= 1

crash: ## Kill servers KILLS times and DEATHS times at each border, fail their store, disk and WAL, and require that broken programs are caught
	DTCGATE_TEST_KILLS=$(KILLS) DTCGATE_TEST_QUIET=$(QUIET) DTCGATE_TEST_DEATHS=$(DEATHS) DTCGATE_TEST_WAL_CUTS=1000 $(GO) run ./store/storetest/postgres -- \
		$(CRASH) -tags failpoints -run 'KilledAtAnyTime|KilledAtEveryBorder|KillChecker|AWALThatIsCut' ./cmd/dtcgate
	DTCGATE_TEST_FAULTS=100000 DTCGATE_TEST_REFUSED=2000 $(GO) run ./store/storetest/postgres -- $(CRASH) -run 'AStoreThatFailsAtRandom|RefusesAndRecovers' ./gate
	DTCGATE_TEST_BROKEN=all $(CRASH) -run TheRigCatchesBrokenPrograms ./cmd/dtcgate

TUPLES := 10000000
PAIRS  := 1000000

differential: ## Hold the policy's engine to its second evaluator on TUPLES calls, and to narrower documents on PAIRS
	DTCGATE_TEST_POLICY_TUPLES=$(TUPLES) DTCGATE_TEST_POLICY_PAIRS=$(PAIRS) \
		$(GO) test -count=1 -v -timeout 12h -run 'TheEngineAnswersAsTheDocumentReads|WhatNarrowsAPolicyNeverAllowsMore' ./gate/policy

lint: ## Run go vet, gofumpt and staticcheck
	$(GO) vet ./...
	@unformatted="$$($(TOOL) gofumpt -l .)" && test -z "$$unformatted" || { echo "not formatted (gofumpt -w .):" $$unformatted >&2; exit 1; }
	$(TOOL) staticcheck ./...

fuzz: ## Run every fuzz test for FUZZTIME each
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p || exit 1; \
		done; \
	done

fuzz-long: ## Run the eight fuzz tests of what strangers send, half an hour each or FUZZTIME, two at a time
	.ci/fuzz $(if $(filter command line environment,$(origin FUZZTIME)),$(FUZZTIME),30m)

schemas: ## Write the golden schemas of all tools to schemas/
	$(GO) test ./tools/dtc -update

docs: ## Write docs/tools.md from the tools and their examples
	$(GO) run ./cmd/docs

# BENCH holds flags of cmd/bench, such as BENCH='-only speed' or BENCH=-quick.
BENCH ?=

bench: build ## Measure the five promised figures (docs/benchmark.md), and where the time goes; an hour and 50 GB of disk
	$(GO) run ./cmd/bench -dtcgate bin/dtcgate $(BENCH)

clients: build ## Run real MCP clients and the conformance suite from ../shared/clients against ./bin/dtcgate, the short way of messages and the long one
	.ci/clients
	DTCGATE_SLOW_MCP=true .ci/clients
