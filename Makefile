# `make demo` and `make test` need Python 3.10 or newer, a C++ compiler and make; the rest goes into .venv.

PYTHON ?= python3
# What pip installs as torch, e.g. TORCH=torch for the newest one. Once set up, it is changed only on request.
TORCH ?= torch==2.13.0

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The steps of the set-up, each with its stamp, so an interrupted set-up goes on where it stopped.
MADE := $(VENV)/.made
HAS_TORCH := $(VENV)/.has-torch
HAS_SCATTER := $(VENV)/.has-scatter
READY := $(VENV)/.ready

ifneq ($(wildcard ../shared/data),)
export GLT_DATA ?= $(abspath ../shared/data)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint types format bench-speed bench-latency bench-accuracy bench-controls bench-board readme clean FORCE

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

setup: $(READY)  ## the environment in .venv, and nothing else
	@echo "ready: try '$(BIN)/glt --help', or '. $(BIN)/activate'"

demo: $(READY)  ## find a ticket on Cora, or on a generated graph where Cora cannot be had
	@$(BIN)/glt run configs/demo.yaml; status=$$?; \
	if [ $$status -eq 3 ]; then \
		echo "Cora is not available: the demo continues on csbm, a generated graph"; \
		$(BIN)/glt run configs/demo-csbm.yaml; \
	else exit $$status; fi

test: $(READY)  ## lint, types and tests; ARGS="-k name" goes to pytest
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	$(BIN)/python -m pytest $(ARGS)

lint: $(READY)  ## ruff: rules and format
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check

types: $(READY)  ## mypy
	$(BIN)/python -m mypy

format: $(READY)  ## let ruff mend what it can
	$(BIN)/python -m ruff check --fix
	$(BIN)/python -m ruff format

bench-speed: $(READY)  ## time glt against other implementations
	$(BIN)/python benchmarks/speed.py $(ARGS)

bench-latency: $(READY)  ## time compact tickets against dense models; an hour
	$(BIN)/python benchmarks/latency.py $(ARGS)

bench-accuracy: $(READY)  ## measure the tickets of every method; takes hours
	$(BIN)/python benchmarks/accuracy.py $(ARGS)

bench-controls: $(READY)  ## measure the controls of those tickets; takes hours
	$(BIN)/python benchmarks/controls.py $(ARGS)

bench-board: $(READY)  ## the board: sweeps, then everything computed again from their tickets; takes many hours
	$(BIN)/glt sweep configs/board-cora.yaml $(ARGS)
	$(BIN)/glt sweep configs/board-cora-open.yaml $(ARGS)
	$(BIN)/glt sweep configs/board-others.yaml $(ARGS)
	$(BIN)/glt leaderboard build runs -o benchmarks --update
	$(BIN)/python benchmarks/tables.py

readme: $(READY)  ## write the tables and plots from benchmarks/results
	$(BIN)/python benchmarks/tables.py $(ARGS)

clean:  ## remove .venv, caches and build outputs; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find glt tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment belongs to one place and one Python: made anew when the tree has moved or that Python is gone.
ifneq ($(shell [ -x $(BIN)/python ] && cat $(MADE) 2>/dev/null),$(CURDIR))
$(MADE): FORCE
endif
$(MADE):
	@echo "[1/4] virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "glt needs Python 3.10 or newer, e.g. make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(if $(wildcard $(MADE)),--clear) $(VENV)
	@echo "$(CURDIR)" > $@

ifneq ($(origin TORCH),file)
ifneq ($(shell cat $(HAS_TORCH) 2>/dev/null),$(TORCH))
$(HAS_TORCH): FORCE
endif
endif
$(HAS_TORCH): $(MADE)
	@echo "[2/4] $(TORCH) (a large download the first time)"
	@$(PIP) -qq install --upgrade $(foreach word,$(TORCH),'$(word)')
	@$(PIP) -qq install "setuptools>=77" wheel numpy
	@echo "$(TORCH)" > $@

# A wheel in pip's cache may have been built against another torch: what was installed has to work.
define TRY_SCATTER
import torch, torch_scatter
device = "cuda" if torch.cuda.is_available() else "cpu"
index = torch.zeros(2, dtype=torch.long, device=device)
torch_scatter.scatter(torch.ones(2, device=device), index, reduce="max")
endef
export TRY_SCATTER
SCATTER_LOG := $(VENV)/torch-scatter.log

$(HAS_SCATTER): $(HAS_TORCH)
	@echo "[3/4] torch-scatter (compiled against this torch the first time: 5 to 10 minutes)"
	@install() { $(PIP) install --no-build-isolation "$$@" torch-scatter; }; \
	works() { $(BIN)/python -c "$$TRY_SCATTER"; }; \
	rebuild() { $(PIP) cache remove 'torch_scatter-*'; install --force-reinstall --no-deps; }; \
	if ! { install && { works || { ! grep -q 'Building wheel' $(SCATTER_LOG) && rebuild && works; }; }; } \
		> $(SCATTER_LOG) 2>&1; \
	then \
		$(PIP) -qq uninstall -y torch-scatter; \
		echo "torch-scatter could not be built (see $(SCATTER_LOG)); glt works without it"; \
	fi
	@touch $@

$(READY): $(HAS_SCATTER) setup.cfg pyproject.toml
	@echo "[4/4] glt and its dependencies"
	@$(BIN)/python -c 'import importlib.metadata as m; print("torch==" + m.version("torch"))' > $(VENV)/torch.txt
	@$(PIP) -qq install --no-build-isolation -c $(VENV)/torch.txt -e '.[dev]'
	@touch $@
