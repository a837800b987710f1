# Everything a developer runs. Each target sets up what it needs, in .venv, from nothing but Python 3.11 or later.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PROTO_VENV := .venv-proto
PROTO_READY := $(PROTO_VENV)/.ready
# The oldest supported versions: generated code refuses runtimes older than what made it.
GRPC_TOOLS := grpcio-tools==1.74.0 grpcio==1.74.0 protobuf==6.31.1
PROTOS := $(wildcard proto/springtide/wire/v1/*.proto)
# The first of these that is new enough; PYTHON=... on the command line overrides it.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# What needs no other processes runs in one worker per core; so do those tests of real processes that measure nothing
# (tests/conftest.py names them). The others come last, one after the other: anything beside them would be a fault that
# nobody asked for.
PYTEST_JOBS ?= 2
PYTEST := $(BIN)/python -m pytest
define run-tests
	$(PYTEST) -n $(PYTEST_JOBS) -m 'not cluster' tests
	$(PYTEST) -n $(PYTEST_JOBS) --dist loadfile -m 'cluster and together' tests
	$(PYTEST) -m 'cluster and not together' tests
endef
SEEDS ?= 200
MINUTES ?= 2
NODES ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all check format proto check-proto simulate mutants faults powerloss system-deps constraints clean

help:
	@echo 'make demo          three nodes in a temporary directory; the primary is killed; nothing is lost'
	@echo 'make test          every suite once (15 minutes at most on two cores)'
	@echo 'make test-all      the whole matrix'
	@echo 'make check         lint, format, types, import contracts, generated code'
	@echo 'make simulate SEEDS=1000   the cluster in one thread, from seeds'
	@echo 'make mutants TRIALS=5      planted bugs that the simulator must find, with fresh seeds'
	@echo 'make faults MINUTES=20 [NODES=3 SEED=1]   real processes under attack (as root, after make system-deps)'
	@echo 'make powerloss     all machines lose their power, 50 times'
	@echo 'make proto         regenerate springtide/wire/v1 from proto/'
	@echo 'make system-deps   Debian packages that the deeper tests use (as root)'

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or later with the venv module is needed; name it with PYTHON=/path/to/python' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo '$(PYTHON) lacks the venv module; on Debian: apt-get install python3-venv' >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(PROTO_READY): Makefile
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or later is needed; name it with PYTHON=/path/to/python' >&2; exit 1; }
	test -x $(PROTO_VENV)/bin/python || $(PYTHON) -m venv $(PROTO_VENV)
	$(PROTO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(GRPC_TOOLS) 'setuptools<81'
	@touch $@

demo: $(READY)
	$(BIN)/springtide demo

test: $(READY)
	$(run-tests)

test-all: export SPRINGTIDE_TEST_ALL = 1
test-all: $(READY)
	$(run-tests)

check: $(READY) check-proto
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(PROTO_READY)
	$(PROTO_VENV)/bin/python -m grpc_tools.protoc -I proto --python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)

check-proto: $(PROTO_READY)
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(PROTO_VENV)/bin/python -m grpc_tools.protoc -I proto --python_out="$$fresh" --pyi_out="$$fresh" --grpc_python_out="$$fresh" $(PROTOS) && \
	diff -r -x __pycache__ -x __init__.py "$$fresh/springtide/wire/v1" springtide/wire/v1 \
	|| { echo 'springtide/wire/v1 is not what proto/ says: run `make proto` and commit the result' >&2; exit 1; }

simulate: $(READY)
	$(BIN)/python -m springtide.testing.simulator --seeds $(SEEDS)

faults: $(READY)
	$(BIN)/python -m tests.faults --minutes $(MINUTES) --nodes $(NODES) $(if $(SEED),--seed $(SEED))

powerloss: export SPRINGTIDE_TEST_ALL = 1
powerloss: $(READY)
	$(PYTEST) tests/powerloss

# REWRITE=1 writes what was found to where the gate (in `make test`) and docs/reliability.md have it.
TRIALS ?= 5
mutants: $(READY)
	$(BIN)/python -m tests.simulation.mutants --trials $(TRIALS) $(if $(REWRITE),--rewrite)

# What is missing is said, and nothing fails here: the tests say 'not tried', or fail where
# SPRINGTIDE_REQUIRE_ALL is set.
system-deps:
	@sh scripts/system-deps

constraints: $(READY)
	{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable; } > constraints.new
	! grep -nE '://|^-|@ ' constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) $(PROTO_VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
