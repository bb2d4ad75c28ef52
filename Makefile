# `make help` lists the commands. Each sets up what it needs, in a virtual environment of its own.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
MODEL ?= feedback
EPOCHS ?= 64
# More for the command line, as in: make train ARGS="--tb --amp"
ARGS ?=

BIN := $(VENV)/bin
# Other libraries that are timed, in environments of their own.
BENCH := build/bench
# Small tensors gain nothing from many threads, and tests run side by side.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(BIN)/python:
	PYTHON="$(PYTHON)" tools/make_venv.sh "$(VENV)"

$(VENV)/.notebooks: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[notebooks]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,peers]'
	$(BIN)/python -m pip install --quiet --no-deps spikingjelly==2.0.0
	touch $@ $(VENV)/.notebooks $(VENV)/.site $(VENV)/.ablation

$(VENV)/.site: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[notebooks,site]'
	touch $@ $(VENV)/.notebooks

$(VENV)/.ablation: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[ablation]'
	touch $@

# In place, or with the options of a quick look, whose outputs go to a folder of their own.
QUICK := $(if $(filter file,$(origin EPOCHS)),,yes)

.PHONY: tutorial
tutorial: $(VENV)/.site ## execute all notebooks and build the site; with EPOCHS=4 a quick look, into build/
	$(BIN)/python tools/run_notebooks.py $(if $(QUICK),--epochs $(EPOCHS) --out build)
	$(BIN)/python tools/build_site.py $(if $(QUICK),--notebooks build)

.PHONY: site
site: $(VENV)/.site ## build a static site of the notebooks, as they are, into build/site
	$(BIN)/python tools/build_site.py

TWO := --numprocesses 2 --dist loadgroup
# A plain pytest leaves out what takes long; with this it leaves out only what needs a GPU.
ALL := -m 'not gpu'

.PHONY: check
check: $(VENV)/.dev ## check style, types and the core, in a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(TEST_ENV) $(BIN)/python -m pytest tests/snn_core $(TWO) $(ARGS)

.PHONY: test
test: $(VENV)/.dev ## run the tests, but for those that take long
	$(TEST_ENV) $(BIN)/python -m pytest $(TWO) $(ARGS)

.PHONY: nightly
nightly: coverage torture bounds mutation ## run all tests and everything else that takes long, in hours

.PHONY: torture
torture: $(VENV)/.dev ## run the tests of reliability with their full counts and write results/reliability.json
	$(TEST_ENV) $(BIN)/python -m pytest $(ALL) --torture $(TWO) $(ARGS)

# Compiled anew, so that what writes the kernels runs too; their own source runs in Python, in a test of its own.
COVERAGE := build/coverage
.PHONY: coverage
coverage: $(VENV)/.dev $(BENCH)/jax/.done ## run all tests and count the lines and branches that they reach, into results/coverage.json; fails below 95 %
	rm -rf $(COVERAGE) && mkdir -p $(COVERAGE)
	status=0; NUMBA_CACHE_DIR=$(CURDIR)/$(COVERAGE)/kernels $(TEST_ENV) $(BIN)/python -m coverage run -m pytest \
	    $(ALL) $(TWO) $(ARGS) || status=$$?; \
	$(BIN)/python -m coverage combine --quiet && \
	$(BIN)/python -m coverage json --quiet -o $(COVERAGE)/report.json && \
	$(BIN)/python tools/coverage_figures.py $(COVERAGE)/report.json && exit $$status

.PHONY: mutation
mutation: $(VENV)/.dev ## change the neurons, layers and kernels in many places and see whether tests notice
	nice -n 10 $(BIN)/python tools/mutate.py $(ARGS)

.PHONY: bounds
bounds: $(VENV)/.dev ## run the tests with the lowest and the newest packages, each in an environment of its own
	$(BIN)/python tools/check_bounds.py $(ARGS)

.PHONY: train
train: $(VENV)/.notebooks ## train one network: make train MODEL=feedback EPOCHS=64 ARGS="--tb"
	$(BIN)/python -m sequential_fmnist --model $(MODEL) --epochs $(EPOCHS) $(ARGS)

.PHONY: lab
lab: $(VENV)/.notebooks ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

.PHONY: figures
figures: $(VENV)/.notebooks ## draw all figures from results/
	$(BIN)/python -m snn_tutorial.plot

.PHONY: ablation
ablation: $(VENV)/.ablation ## run what is missing of the ablation, hours in all; break it off and go on at any time
	$(TEST_ENV) $(BIN)/python -m experiments $(ARGS)

.PHONY: readme
readme: $(VENV)/.notebooks ## time both commands in fresh clones and write the README's tables
	$(BIN)/python tools/time_commands.py
	$(BIN)/python tools/update_readme.py

$(BENCH)/constraints.txt: $(VENV)/.dev
	mkdir -p $(@D)
	$(BIN)/python -c "import torch; print('torch==' + torch.__version__.partition('+')[0])" > $@

$(BENCH)/%/.done: benchmarks/requirements/%.txt $(BENCH)/constraints.txt
	PYTHON="$(PYTHON)" tools/make_venv.sh $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $< --constraint $(BENCH)/constraints.txt
	touch $@

.PHONY: bench
bench: $(VENV)/.dev $(BENCH)/torch/.done $(BENCH)/jax/.done ## time training against other libraries, for the README's table and a figure
	$(BIN)/python -m benchmarks.throughput $(ARGS)
	$(BIN)/python -m snn_tutorial.plot
	$(BIN)/python tools/update_readme.py

.PHONY: exchange
exchange: $(VENV)/.dev $(BENCH)/jax/.done ## run the networks in other libraries, for results/exchange.json and the README's table
	SNN_CORE_WRITE_TABLES=1 $(TEST_ENV) $(BIN)/python -m pytest $(ALL) tests/snn_exchange/test_exchange_peers.py
	$(BIN)/python tools/update_readme.py

.PHONY: data
data: $(VENV)/.notebooks ## fetch Fashion-MNIST into the cache
	$(BIN)/python -m sequential_fmnist.data

.PHONY: subset
subset: $(VENV)/.notebooks ## make the embedded subset again from the full data
	$(BIN)/python tools/make_embedded_subset.py

.PHONY: clean
clean: ## remove the virtual environment and what tools leave behind; data, runs and results stay
	rm -rf $(VENV) .pytest_cache .hypothesis .ruff_cache *.egg-info build
