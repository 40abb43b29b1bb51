# Each command sets up what it needs: `make lab`, `make test`, `make book`.
# GPU=1 adds the CUDA libraries; PYTHON=... picks the interpreter.
export TF_CPP_MIN_LOG_LEVEL ?= 3

VENV := .venv
BIN := $(VENV)/bin
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)
comma := ,
GPU_EXTRA := $(if $(GPU),$(comma)gpu)
# Inside containers people are root, and Jupyter refuses root unless told.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

# More than cores: many tests wait for a browser, a kernel or a process.
WORKERS ?= 3

# TensorFlow 2.21 does not look into this folder of its own CUDA packages, and uses no
# GPU without what lies there.
CUSOLVER = $(shell ls -d $(CURDIR)/$(VENV)/lib/python3*/site-packages/nvidia/cusolver/lib 2>/dev/null)
WITH_CUDA = $(if $(CUSOLVER),LD_LIBRARY_PATH="$(CUSOLVER):$$LD_LIBRARY_PATH" )

# Nothing on the page asks the outside world for news.
ANNOUNCEMENTS := @jupyterlab/apputils-extension:announcements

.PHONY: lab test lint format notebooks book clean

lab: $(VENV)/.lab$(GPU)
	$(WITH_CUDA)$(BIN)/jupyter lab --config=jupyter_lab_config.py $(AS_ROOT) \
		--LabApp.default_url=/lab/tree/notebooks/00_index.ipynb

test: $(VENV)/.test$(GPU) lint
	$(WITH_CUDA)$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/.test$(GPU)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.test$(GPU)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Makes exercises and solutions from notebooks/exercises, runs the notebooks and
# stores their outputs; NB=notebooks/05*.ipynb for one.
notebooks: $(VENV)/.test$(GPU)
	$(BIN)/python tests/make_exercises.py
	$(BIN)/python tests/store_outputs.py $(NB)

# Pages of the notebooks with their stored outputs: build/book/index.html.
book: $(VENV)/.book
	$(BIN)/python -m sphinx -q -W --keep-going -c book -d build/doctrees . build/book
	@echo "The book is in build/book/index.html"

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found. Name one: make lab PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.lab$(GPU): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[lab$(GPU_EXTRA)]"
	$(BIN)/jupyter labextension disable --level=sys_prefix $(ANNOUNCEMENTS)
	@touch $@

$(VENV)/.book: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[book]"
	@touch $@

$(VENV)/.test$(GPU): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[lab,test$(GPU_EXTRA)]"
	$(BIN)/jupyter labextension disable --level=sys_prefix $(ANNOUNCEMENTS)
	@touch $(VENV)/.lab$(GPU) $@
