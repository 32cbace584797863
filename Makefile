# The two commands: make demo, make test. Everything they need is set up on the way; what is there already is kept.
# As root nothing else is needed; as an ordinary user sudo is used for what needs root, and only for that.

BIN := .venv/bin
READY := .venv/.installed
CACHE := $(or $(LOCALK8S_CACHE),$(HOME)/.cache/localk8s)
# Clusters need root. What they need of the user is the user's: localk8s knows by SUDO_UID. sudo keeps no variables.
KEPT := $(foreach name,LOCALK8S_HOME LOCALK8S_CACHE KUBECONFIG,$(if $($(name)),$(name)='$($(name))'))
ROOT := $(if $(filter 0,$(shell id -u)),env,sudo env $(KEPT)) PATH=$(CURDIR)/$(BIN):$(PATH):/usr/sbin:/sbin
# A network of one's own without an uplink: proves that nothing is fetched, and nothing leaves the machine.
ALONE := $(ROOT) LOCALK8S_CACHE='$(CACHE)' unshare --net -- sh -c 'ip link set lo up && exec "$$0" "$$@"'
PYTEST := $(CURDIR)/$(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test unit fakes tools real test-vm test-host test-minikube lint format mutants bench docs setup clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: setup ## Start a cluster, deploy an echo server, show its answer
	@$(ROOT) localk8s demo

test: setup tools unit fakes real ## Pass every test, the real clusters included

unit: $(READY) ## The quick loop: pure code, parsers, the command line over a fake driver
	@$(PYTEST) -n 2 --dist loadscope tests/unit $(ARGS)

fakes: $(READY) ## Whole lives without a cluster: a fake minikube, a real HTTP server, real packages
	@$(PYTEST) -n 2 --dist loadscope -m 'not real and not vm' tests/contract tests/integration tests/e2e $(ARGS)

tools: $(READY) ## Install from Debian's packages what only the tests need, and build Vagrant's box
	@scripts/test-tools
	@$(BIN)/localk8s setup --driver vagrant --yes

real: setup tools ## The tests with real clusters, in a network without an uplink
	@$(ALONE) $(PYTEST) -p no:cacheprovider -m 'real and not vm' $(ARGS)

test-vm: setup ## The tests with virtual machines on emulated processors, in a world of their own (15 minutes)
	@scripts/libvirt-tools
	@$(ROOT) localk8s box build --provider libvirt --quiet
	@$(ROOT) LOCALK8S_CACHE='$(CACHE)' timeout --kill-after=60 2700 scripts/with-libvirt $(PYTEST) -p no:cacheprovider -m vm $(ARGS)

test-host: setup ## The hosts that people have: stock Debian 12 and 13 in virtual machines, offline, as a user with sudo
	@scripts/libvirt-tools
	@for suite in $(or $(SUITES),bookworm trixie); do $(ROOT) scripts/host-image $$suite $(CACHE)/test-hosts >/dev/null || exit 1; done
	@$(ALONE) env LOCALK8S_TEST_HOSTS=$(CACHE)/test-hosts $(PYTEST) -p no:cacheprovider -x tests/host $(ARGS)

test-minikube: $(READY) ## A real minikube on PATH: LOCALK8S_TEST_VM_DRIVER=none|ssh|docker|… [LOCALK8S_TEST_KUBERNETES=1.20.2]
	@$(ROOT) LOCALK8S_CACHE='$(CACHE)' LOCALK8S_TEST_VM_DRIVER='$(LOCALK8S_TEST_VM_DRIVER)' LOCALK8S_TEST_KUBERNETES='$(LOCALK8S_TEST_KUBERNETES)' \
		LOCALK8S_TEST_MINIKUBE_ARGS='$(LOCALK8S_TEST_MINIKUBE_ARGS)' $(PYTEST) -v -rs tests/contract/test_minikube.py -k RealMinikube $(ARGS)

lint: $(READY) ## Style, types, floors, generated parts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/docs.py --check

format: $(READY) ## Lay the code out, mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(READY) ## Write the generated parts of README.md
	@$(BIN)/python scripts/docs.py

mutants: $(READY) ## Change the code in a copy, one place at a time: tests have to notice (5 to 10 minutes) [ARGS='NAME …']
	@$(CURDIR)/$(BIN)/python scripts/mutants.py $(ARGS)

bench: setup tools ## Measure against the least that has to happen; writes the table into README.md
	@$(ALONE) $(CURDIR)/$(BIN)/python scripts/bench.py $(ARGS)

setup: $(READY) ## Install and build all that clusters need
	@$(BIN)/localk8s setup --driver native --yes

$(READY): pyproject.toml localk8s/_version.py scripts/bootstrap
	@scripts/bootstrap
	@touch $@

clean: ## Remove what make made here (not the cache, not the clusters)
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
