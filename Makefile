# Thin verbs over Meson. `make help` lists them.
PREFIX ?= /usr/local
DESTDIR ?=
SECS ?= 60
N ?= 1000
JOBS ?=
NINJA = ninja $(if $(JOBS),-j$(JOBS))
# Loaded machines are slow; a test that hangs still ends. The validators are where tools/test-venv puts them, if it could.
MESON_TEST = $(if $(wildcard build-venv/bin/python),ST_PYTHON=$(CURDIR)/build-venv/bin/python SYFT=$(CURDIR)/build-venv/bin/syft PYTHONPATH=$(wildcard $(CURDIR)/build-venv/lib/python3*/site-packages)) \
	meson test --no-rebuild --print-errorlogs --timeout-multiplier 5
SANITIZE = -Db_sanitize=address,undefined -Db_lundef=false

.DEFAULT_GOAL := all
.PHONY: all demo check check-full check-vm chaos bench fuzz fmt lint install deb clean help test-asan test-release

all: build/build.ninja ## build build/stella and its helpers (release)
	$(NINJA) -C build

build/build.ninja:
	tools/install-deps build
	meson setup build -Dbuildtype=release --prefix=$(PREFIX) --libexecdir=libexec

build-asan/build.ninja:
	meson setup build-asan $(SANITIZE)

demo: ## install what the build needs, build, scan a real image (IMAGE=path: that one)
	tools/demo

check: ## install what the tests need, run them: with sanitizers, then the release build
	tools/install-deps build test
	tools/test-venv
	$(MAKE) test-asan
	$(MAKE) test-release
	@tools/test-summary build-asan build

test-asan: build-asan/build.ninja
	$(NINJA) -C build-asan
	$(MESON_TEST) -C build-asan

test-release: all
	$(MESON_TEST) -C build

check-full: check ## check, lint, and the slow tests (ST_FULL=1: truth on the whole corpus)
	tools/install-deps servers truth
	$(MAKE) lint
	$(MAKE) chaos N=50
	ST_FULL=1 ST_TRUTH_NETWORK=1 $(MESON_TEST) -C build --timeout-multiplier 20

check-vm: all ## the watchdog on real kernels (goes on where it was; CELL= CASE=), the service, its runbook, and scans in 64 MiB: OCI=DIRECTORY of layouts
	tools/install-deps vm
	tests/vm/matrix --tool stella-dry --cell "$(CELL)" --case "$(CASE)"
	tests/vm/matrix --tool stella --cell "$(CELL)" --case "$(CASE)"
	tests/vm/report
	tests/vm/rungs.sh 6.1
	tests/vm/rungs.sh 6.12
	tests/vm/idle.sh 6.12
	ST_FULL=1 tests/vm/deployed.py build
	ST_FULL=1 tests/vm/serve.py build
	ST_FULL=1 tests/vm/runbook.py build
	ST_FULL=1 tests/vm/systemd.py build
	ST_FULL=1 tests/vm/serve.py build 6.1
	ST_FULL=1 tests/vm/serve.py build 6.12
	$(if $(OCI),tests/vm/cgroup64.sh "$(OCI)" small web)

chaos: all ## kill what can be killed under load, N=1000 rounds of it; goes on where it was, results in chaos.tsv
	tools/install-deps test chaos
	tests/chaos/chaos.py build/stella --rounds $(N)
	tests/chaos/chaos.py build/stella --rounds $(N) --store postgresql --supervisors 2

bench: all ## measure against syft, trivy and the floor; prints one table
	bench/run

fuzz: ## fuzz one parser: make fuzz T=json SECS=60; all of them in equal parts, CPU time: make fuzz HOURS=4
	$(if $(HOURS),tools/fuzz --all "$(HOURS)",tools/fuzz "$(T)" "$(SECS)")

fmt: ## format all C
	git ls-files '*.c' '*.h' | xargs clang-format-14 -i

lint: build/build.ninja ## format, headers, banned functions, sizes, cppcheck, clang-tidy, shellcheck
	tools/install-deps build lint
	tools/lint

install: all ## install; DESTDIR= PREFIX=
	meson configure build --prefix=$(PREFIX)
	DESTDIR=$(abspath $(DESTDIR)) meson install -C build

deb: ## build stella_VERSION_ARCH.deb in build-deb/
	tools/install-deps build
	tools/make-deb

clean: ## remove every build directory
	rm -rf build build-asan build-fuzz build-deb build-venv

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r verb what; do \
		printf '  make %-11s %s\n' "$$verb" "$$what"; done
