# `make help` lists the commands. Each sets up what it needs, in a virtual environment of its own.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
MODEL ?= feedback
EPOCHS ?= 64
# More for the command line, as in: make train ARGS=--tb
ARGS ?=

BIN := $(VENV)/bin
INSTALL := tools/install.sh "$(VENV)"
# Other libraries that are timed, in environments of their own.
BENCH := build/bench
# Files are UTF-8, whatever the terminal is.
export PYTHONUTF8 := 1
# Small tensors gain nothing from many threads, and tests run side by side.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

# torch and torchvision with the bounds of pyproject.toml, each in quotes.
TORCH := $(shell sed -nE "s/^ *\"(torch(vision)?>.*)\",$$/'\1'/p" pyproject.toml)

$(BIN)/python:
	PYTHON="$(PYTHON)" tools/make_venv.sh "$(VENV)" $(TORCH)

$(VENV)/.notebooks: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[notebooks]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[dev]'
	$(INSTALL) --no-deps --requirement tests/peers.txt
	touch $@ $(VENV)/.notebooks $(VENV)/.site $(VENV)/.ablation

$(VENV)/.site: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[notebooks,site]'
	touch $@ $(VENV)/.notebooks

$(VENV)/.ablation: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[ablation]'
	touch $@

STARTED := $(shell date +%s)
# A heading with the time since the start.
phase = @printf '\n== %s (after %d s)\n' '$(1)' $$(($$(date +%s) - $(STARTED)))
AGAIN := $(MAKE) --no-print-directory
# Given by hand, as in make tutorial EPOCHS=4: a quick look.
QUICK := $(if $(filter file,$(origin EPOCHS)),,--epochs $(EPOCHS))

.PHONY: tutorial
tutorial: ## execute all notebooks and build the site, into build/; with EPOCHS=4 a quick look
	$(call phase,1 of 4: packages into $(VENV))
	@$(AGAIN) $(VENV)/.site
	$(call phase,2 of 4: data)
	@$(AGAIN) data || echo "not fetched: chapters use the 6,000 images that the package holds"
	$(call phase,3 of 4: chapters)
	@$(BIN)/python tools/run_notebooks.py --out build $(QUICK) $(ARGS)
	$(call phase,4 of 4: site)
	@$(AGAIN) site CHAPTERS=build
	$(call phase,done: open build/site/index.html)

.PHONY: notebooks
notebooks: $(VENV)/.notebooks ## execute all notebooks in place, then refresh
	$(BIN)/python tools/run_notebooks.py
	$(BIN)/python tools/refresh.py

.PHONY: refresh
refresh: $(VENV)/.notebooks ## bring up to date what is generated: outdated chapters, figures, tables of README; show what changed
	$(BIN)/python tools/refresh.py

# A folder whose notebooks/ and figures/ the site shows in place of those committed.
CHAPTERS :=
PAGES := build/pages
SITE := build/site
.PHONY: site
site: $(VENV)/.site ## build the site, with slides, from the notebooks as they are, into build/site
	rm -rf $(PAGES) $(SITE) && mkdir -p $(PAGES)
	cp -r README.md CHANGELOG.md CODE_OF_CONDUCT.md CONTRIBUTING.md LICENSE* CITATION.cff docs figures notebooks docs/index.md $(PAGES)
	$(if $(CHAPTERS),cp -r $(wildcard $(CHAPTERS)/notebooks $(CHAPTERS)/figures) $(PAGES))
	$(BIN)/sphinx-build -W --keep-going --quiet -c docs -d $(PAGES)/.doctrees $(PAGES) $(SITE)

.PHONY: course
course: $(VENV)/.notebooks ## write the chapters without solutions, and with all solved, into build/course
	$(BIN)/python tools/course.py

TWO := --numprocesses 2 --dist loadgroup
# A plain pytest leaves out what takes long; with this it leaves out only what needs a GPU.
ALL := -m 'not gpu'

# What checks the scripts of the chapters' views. Readers need none of it.
JAVASCRIPT := tools/javascript
WITH_NODE := PATH="$(abspath $(BIN)):$$PATH"
$(JAVASCRIPT)/node_modules: $(JAVASCRIPT)/package-lock.json | $(VENV)/.dev
	$(WITH_NODE) npm ci --prefix $(JAVASCRIPT) --no-audit --no-fund --silent
	touch $@

.PHONY: lint
lint: $(VENV)/.dev $(JAVASCRIPT)/node_modules ## check style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	for system in linux darwin win32; do $(BIN)/mypy --platform $$system || exit 1; done
	$(BIN)/lint-imports
	$(JAVASCRIPT)/node_modules/.bin/biome ci --config-path=$(JAVASCRIPT)/biome.json snn_tutorial/live/js docs/site.js
	$(WITH_NODE) $(JAVASCRIPT)/node_modules/.bin/tsc --project $(JAVASCRIPT)

.PHONY: check
check: lint ## lint, and run the tests of the core, in a minute
	$(TEST_ENV) $(BIN)/python -m pytest tests/snn_core $(TWO) $(ARGS)

.PHONY: test
test: $(VENV)/.dev ## run the tests, but for those that take long
	$(TEST_ENV) $(BIN)/python -m pytest $(TWO) $(ARGS)

.PHONY: engine
engine: $(VENV)/.dev ## compile the C of the kernels to LLVM's language, packed beside it; needs clang
	$(BIN)/python tools/build_engine.py $(CLANG)

.PHONY: nightly
nightly: coverage torture bounds ## run all tests and everything else that takes long, in hours

.PHONY: torture
RANDOM := tests/torture tests/parity/test_random_networks.py tests/parity/test_random_equations.py tests/snn_exchange \
    tests/sequential_fmnist/test_resume.py
torture: $(VENV)/.dev ## try many more random faults than make test does
	SNN_TORTURE=1 $(TEST_ENV) $(BIN)/python -m pytest $(ALL) $(TWO) $(ARGS) $(RANDOM)

COVERAGE := build/coverage
.PHONY: coverage
coverage: $(VENV)/.dev $(BENCH)/jax/.done ## run all tests and show the lines that none reaches; fails below 98 % of snn_core's lines and branches
	rm -rf $(COVERAGE) && mkdir -p $(COVERAGE)
	status=0; $(TEST_ENV) $(BIN)/coverage run -m pytest \
	    $(ALL) $(TWO) $(ARGS) || status=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report --skip-covered --show-missing && \
	$(BIN)/coverage report --include='snn_core/*' --fail-under=98 && exit $$status

# Tests in an environment with one resolution of the packages on one Python. What fails runs once more, alone: beside
# others some tests are too slow. Tests of the night need more than these packages, and are left out, but for the chapters;
# so are those in a browser, which say nothing about packages.
BOUNDS = build/bounds/$(1)
define try_bounds
rm -rf $(BOUNDS) && $(BIN)/uv venv --quiet --seed --python $(2) $(BOUNDS)
$(BIN)/uv pip install --python $(BOUNDS) --resolution $(1) --torch-backend cpu --editable '.[dev]' || \
    $(BIN)/uv pip install --python $(BOUNDS) --resolution $(1) --editable '.[dev]'
$(BIN)/uv pip install --python $(BOUNDS) --no-deps --requirement tests/peers.txt
export $(TEST_ENV); \
run() { $(BOUNDS)/bin/python -m pytest -W default -o cache_dir=$(BOUNDS)/cache --junitxml=$(BOUNDS)/tests.xml \
    --ignore=tests/browser -m 'not gpu and (not nightly or chapter)' "$$@"; }; \
run $(TWO) $(ARGS) || run --last-failed --last-failed-no-failures none
endef

.PHONY: lowest newest bounds
lowest: $(VENV)/.dev ## run the tests with the oldest packages that pyproject.toml allows
	$(call try_bounds,lowest-direct,3.11)
newest: $(VENV)/.dev ## run the tests with the newest packages
	$(call try_bounds,highest,3.13)
bounds: lowest newest

.PHONY: lock
lock: $(VENV)/.dev ## write tests/constraints.txt, the packages that each change is tested with; ARGS=--upgrade takes the newest
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11.9 --extra dev --no-annotate --quiet \
	    --custom-compile-command 'make lock' --output-file tests/constraints.txt $(ARGS)

# Whole steps in one call, on the CPU. Empty for the loop, as --amp and a GPU need it: make train FUSED= ARGS=--amp
FUSED := --fused
.PHONY: train
train: $(VENV)/.notebooks ## train one network: make train MODEL=feedback EPOCHS=64 ARGS="--tb"
	$(BIN)/python -m sequential_fmnist --model $(MODEL) --epochs $(EPOCHS) $(FUSED) $(ARGS)

# What results/published.json says of both; PRECISION="--skip-overflow --fused" has the scaler's rule without its float16,
# and is fast.
PRECISION := --amp
RECIPE_64 := --epochs 64 --batch-size 256 --drop-last $(PRECISION)
RECIPE_90 := --epochs 90 --batch-size 128 --drop-last --standardise $(PRECISION)
.PHONY: published
published: $(VENV)/.notebooks ## train the three networks by both published recipes, hours in all, into runs/published
	for model in plain stateful-synapse feedback; do \
	    cut=none; [ $$model != feedback ] || cut=hidden; \
	    run="$(BIN)/python -m sequential_fmnist --model $$model $(ARGS)"; \
	    $$run $(RECIPE_64) --detach-reset $$cut --output-dir runs/published/64-$$model && \
	    $$run $(RECIPE_90) --output-dir runs/published/90-$$model || exit 1; \
	done

.PHONY: lab
lab: $(VENV)/.notebooks build/lab ## open a copy of the notebooks, in build/lab, in JupyterLab
	$(BIN)/jupyter lab build/lab/notebooks

build/lab:
	mkdir -p $@ && cp -r notebooks results figures docs $@

.PHONY: ablation
ablation: $(VENV)/.ablation ## run what is missing of the ablation, hours in all; ARGS="GROUP --check SEED" compares kept runs
	$(TEST_ENV) $(BIN)/python -m sequential_fmnist.experiments $(ARGS)

.PHONY: times
times: $(VENV)/.notebooks ## time make tutorial and make test in fresh clones, for README
	$(BIN)/python tools/time_commands.py
	$(BIN)/python tools/refresh.py

$(BENCH)/constraints.txt: $(VENV)/.dev
	mkdir -p $(@D)
	$(BIN)/python -c "import torch; print('torch==' + torch.__version__.partition('+')[0])" > $@

$(BENCH)/%/.done: benchmarks/requirements/%.txt $(BENCH)/constraints.txt
	PYTHON="$(PYTHON)" tools/make_venv.sh $(@D) $(if $(findstring torch,$*),"$$(cat $(BENCH)/constraints.txt)")
	$(@D)/bin/python -m pip install --quiet --requirement $< --constraint $(BENCH)/constraints.txt
	touch $@

.PHONY: bench
bench: $(VENV)/.dev $(BENCH)/torch/.done $(BENCH)/jax/.done ## time training against other libraries, for docs/benchmarks.md
	$(BIN)/python -m benchmarks $(ARGS)
	$(BIN)/python tools/refresh.py

.PHONY: exchange
exchange: $(VENV)/.dev $(BENCH)/jax/.done ## run the networks in other libraries, for docs/exchange.md
	SNN_CORE_WRITE_TABLES=1 $(TEST_ENV) $(BIN)/python -m pytest $(ALL) tests/snn_exchange/test_exchange_peers.py
	$(BIN)/python tools/refresh.py

.PHONY: data
data: $(VENV)/.notebooks ## fetch Fashion-MNIST into the cache
	tools/fetch_debian_dataset.sh
	$(BIN)/python tools/fetch_data.py

.PHONY: clean
clean: ## remove the virtual environment and what tools leave behind; data, runs, results and build/lab stay
	rm -rf $(VENV) .pytest_cache .hypothesis .ruff_cache *.egg-info $(filter-out build/lab,$(wildcard build/*))
