# respgate: see README.md. Everything here works on a fresh Debian machine that has Go, make and git.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
# The version is stamped by -X: asking git as well would fail in a checkout that somebody else owns.
export GOFLAGS := $(GOFLAGS) -buildvcs=false
BUILD ?= CGO_ENABLED=0 go build -trimpath
UNIT  := $$(go list ./... | grep -v '^respgate/tests/')
FUZZTIME ?= 20s
BENCHCOUNT ?= 1
SOAK ?= 10m
SEED ?= 0

.PHONY: run build test test-compat differential check bench compare scaling failover-figures report bench-program fuzz clean deps format vet portable unit plain e2e failover soak staticcheck vulncheck

## run: a lab on loopback (two groups, three sentinels, a manager, one proxy) in the foreground; Ctrl-C ends all of it
run:
	@scripts/install-deps run
	@$(MAKE) --no-print-directory build
	@exec bin/respgate lab

## build: bin/respgate and bin/respgate-manager, static
build:
	@mkdir -p bin
	$(BUILD) -ldflags '$(LDFLAGS)' -o bin/ ./cmd/respgate ./cmd/respgate-manager

# What runs real servers waits a lot, and compat compiles a lot: side by side they keep both processors busy.
## test: checks and every test; then a short comparison with nutcracker, which only reports
test: deps format vet staticcheck unit plain test-compat e2e failover
	@echo 'all checks and tests passed'
	@$(MAKE) --no-print-directory report BUILD='go build' # as the tests have compiled it: nothing is compiled again

## test-compat: the Go clients' own test suites, programs in other languages, generated commands: on plain Redis and through the proxy
test-compat: deps
	go test -count=1 -timeout 15m ./tests/compat/... ./tests/differential

## differential: generated commands on plain Redis and through the proxy; ARGS='-soak 30m' compares for longer, ARGS='-seed N' repeats
differential: deps
	go test -count=1 -timeout 2h ./tests/differential -args $(ARGS)

## soak: a random fault every few seconds for SOAK (10m), then every fault of the matrix, the long ones too; SEED=n repeats an order
soak: deps
	go test -v -count=1 -timeout 24h ./tests/failover -args -soak $(SOAK) -seed $(SEED)

## check: format, vet, the build for other systems, staticcheck, the race detector, known vulnerabilities
check: deps format vet portable staticcheck unit vulncheck

## bench: the Go benchmarks of all packages, BENCHCOUNT (1) times each: 10 or so for benchstat
bench:
	go test -run '^$$' -bench . -benchmem -count $(BENCHCOUNT) $(UNIT)

## compare: the proxy beside nutcracker on the same load, some minutes; ARGS='-h' shows the flags
compare: deps bench-program
	@exec bin/bench compare $(ARGS)

## scaling: cost over connections, pipeline, value size, groups, loops, MGET width, into docs/SCALING.md; ARGS='-h' shows the flags
scaling: bench-program
	@exec bin/bench scaling $(ARGS)

## failover-figures: each fault on real servers and sentinels, into docs/FAILOVER.md, half an hour on a quiet machine
failover-figures: deps bench-program
	@exec bin/bench failover -out docs $(ARGS)

## report: a comparison in half a minute that judges nothing
report: bench-program
	@exec bin/bench report

bench-program: build
	@scripts/install-deps run
	go build -o bin/bench ./tests/bench

## fuzz: every fuzz target for FUZZTIME (20s)
fuzz:
	@scripts/fuzz $(FUZZTIME)

clean:
	rm -rf bin

deps:
	@scripts/install-deps test

format:
	@scripts/check-format

vet:
	go vet ./...

# The poller of other systems than Linux has to build, tests included, although it runs only there.
portable:
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go build ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go vet ./engine/...

staticcheck:
	go tool -modfile=tools.mod staticcheck ./...

vulncheck:
	@scripts/check-vulnerabilities

# The race detector sees the packages' own tests; the promises about allocations hold only without it, hence `plain`.
unit:
	go test -race -timeout 10m $(UNIT)

plain:
	go test -timeout 5m ./engine/... ./tests/arch/... ./tests/bench/... ./tests/compat/page/... ./tests/harness/... ./tests/nutcracker/...

# Real redis-server, redis-sentinel and the built programs: as they are delivered, and with the race detector.
e2e:
	go test -count=1 -timeout 10m ./tests/e2e/...
	RESPGATE_RACE=1 go test -count=1 -timeout 15m ./tests/e2e/...

# The fault matrix, without its long half: that is `make soak`. More of its tests at once are hardly faster on two processors, and
# sentinels that get no processor for two seconds call a tilt, and fail nobody over for thirty.
failover:
	go test -count=1 -timeout 10m -parallel 4 ./tests/failover
