# `make demo` and `make test` do all the set-up; the first run takes a minute, the next ones none.
PYTHON ?= python3
ARGS ?=
SEEDS ?= 1000
# Twice as many as there are cores: many tests wait for a process or a socket.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 2 )))
FUZZ_SCALE ?= 50
ANVIL_VERSION := 1.7.1
BIN := .venv/bin

# Hundreds of processes are started here: where the shell forbids to keep the compiled modules, each would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install tools demo test fuzz check mutate simulate crashes audit bench screenshot docs lock clean

help:
	@echo "make demo     play two minutes of a crash on this machine, offline"
	@echo "make test     run the tests; ARGS='-k journal' chooses"
	@echo "make simulate SEEDS=1000  play random stories around the whole daemon, on all cores; ARGS='--replay 7' plays one again"
	@echo "make crashes  kill the daemon at every point at which that matters, and start it again"
	@echo "make bench    what prices, snapshots and orders cost, as a table; ARGS='tick' chooses, ARGS=--short takes a minute"
	@echo "make mutate   change the core in every way, and see that a test fails; ARGS='risk orders' chooses"
	@echo "make fuzz     attack every parser for some minutes; FUZZ_SCALE=1000 takes hours"
	@echo "make check    lint, types, import contracts"
	@echo "make audit    hold the pinned dependencies against the known vulnerabilities"
	@echo "make screenshot  take the picture of the dashboard for the README; needs chromium"
	@echo "make docs     build the documentation into build/site; open build/site/index.html"
	@echo "make install  only make the virtual environment in .venv"
	@echo "make lock     pin the newest versions that pyproject.toml allows"
	@echo "make clean    remove what the others made"

demo: install tools
	@$(BIN)/python -m dehedge demo $(ARGS)

test: install tools
	@$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder $(ARGS)

mutate: .tools/mutation/.installed
	@.tools/mutation/bin/python -m tests.mutation $(ARGS)

simulate: install
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

crashes: install
	@$(BIN)/python -m tests.simulation --crashes all $(ARGS)

bench: install tools
	@$(BIN)/python -m bench $(ARGS)

# The fuzz tests of `make test`, with so many times the examples, and the figures of each.
fuzz: install
	@echo "FUZZ_SCALE=$(FUZZ_SCALE): each test takes $(FUZZ_SCALE) times its examples"
	@FUZZ_SCALE=$(FUZZ_SCALE) $(BIN)/python -m pytest tests/fuzz --numprocesses=auto --override-ini=timeout=0 \
	  --hypothesis-show-statistics --durations=0 $(ARGS)

screenshot: install
	@mkdir -p docs/images
	@$(BIN)/python -m tests.browser.screenshot docs/images/dashboard.png

# A link to a page or a heading that is not there ends it, and so does a script, style or font of another host.
docs: .tools/docs/.installed
	@.tools/docs/bin/zensical build --clean --strict --config-file mkdocs.yml
	@! grep -rnoE '<(script|link|img|iframe)[^>]*(src|href)="?(https?:)?//[^ >]*' build/site --include='*.html'

check: install
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

audit:
	@$(PYTHON) .ci/audit.py

install: .venv/.installed

.venv/.installed: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	@echo "making .venv"
	@$(PYTHON) -m venv .venv \
	  || { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# A real EVM for the demo and some tests. Without it the in-process chain answers the same reads.
tools:
	@if [ -e .tools/anvil-$(ANVIL_VERSION) ]; then :; \
	elif command -v npm >/dev/null; then $(MAKE) --no-print-directory .tools/anvil-$(ANVIL_VERSION) \
	  || echo "anvil could not be installed: the in-process chain stands in for it"; \
	else echo "npm is not there: the in-process chain stands in for anvil"; fi

.tools/anvil-$(ANVIL_VERSION):
	@echo "installing anvil $(ANVIL_VERSION)"
	@mkdir -p .tools
	@npm install --prefix .tools --ignore-scripts --no-audit --no-fund --silent @foundry-rs/anvil@$(ANVIL_VERSION) </dev/null
	@touch $@

# mutmut and cosmic-ray know how to change code. They have an environment of their own, so that they decide no version of ours.
.tools/mutation/.installed: requirements-mutation.lock
	@echo "installing mutmut and cosmic-ray"
	@$(PYTHON) -m venv --clear .tools/mutation
	@.tools/mutation/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.tools/docs/.installed: requirements-docs.lock
	@echo "installing zensical"
	@$(PYTHON) -m venv --clear .tools/docs
	@.tools/docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Hatchling and editables build the package itself. Needs uv (pipx install uv).
UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-annotate --no-header
lock:
	$(UV_COMPILE) pyproject.toml --output-file requirements.lock
	printf 'hatchling\neditables\n' | $(UV_COMPILE) pyproject.toml - --extra dev --constraint requirements.lock \
	  --output-file requirements-dev.lock
	printf '%s\n' cosmic-ray mutmut hypothesis numpy pytest pytest-asyncio pytest-timeout | \
	  $(UV_COMPILE) - --constraint requirements-dev.lock --output-file requirements-mutation.lock
	printf 'zensical\n' | $(UV_COMPILE) - --output-file requirements-docs.lock
	printf 'pip-audit\n' | $(UV_COMPILE) - --output-file requirements-audit.lock

clean:
	rm -rf .venv .tools build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .cache .coverage
