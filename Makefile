# Every target makes .venv once, and again only when pyproject.toml or constraints.txt change.
PYTHON ?= python3
WORKERS ?= 3

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
CORE := .venv/.core
DEV := .venv/.dev

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs docs-serve pictures clean

help:
	@echo 'make demo    train and evaluate MAML-PPO and RL^2, and plot how they adapt to unseen tasks (minutes)'
	@echo 'make test    run the tests'
	@echo 'make check   format, lint and types'
	@echo 'make bench   speed of simulation against the machine, Gymnasium, stable-baselines3 and EnvPool (6 minutes)'
	@echo 'make docs    build the documentation site into site/; a warning is an error'
	@echo 'make docs-serve   show the site at http://127.0.0.1:8000 while you write it'
	@echo 'make clean   remove .venv, caches and builds; runs stay'
	@echo 'PYTHON=python3.12 chooses the interpreter, WORKERS=8 the number of test processes'

$(CORE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "metarl needs Python 3.11 or newer, this is " \
		+ sys.version.split()[0] + "; try: make PYTHON=python3.11")'
	@echo 'Setting up .venv (once: a minute, or as long as the download of torch takes)'
	$(PYTHON) -m venv .venv
	$(PIP) -e .
	@touch $@

$(DEV): $(CORE)
	$(PIP) -e '.[dev]'
	@touch $@

demo: $(CORE)
	$(BIN)/metarl demo

# Three workers for two cores: a third of a worker's time goes into waiting for processes that it started. One thread for
# torch and BLAS in each: otherwise the workers fight over the cores. Work is stolen by halves, so that the tests of a
# file, which share what is made for them, mostly stay together. Bytecode is kept, whatever the environment says: the
# tests start hundreds of processes, and each would compile metarl anew.
test: $(DEV)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(CORE)
	$(BIN)/metarl bench

# mkdocs-material tells of its successor on every build unless it is asked not to.
docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --watch metarl --watch agents --watch envs

# The pictures of the gallery of families, drawn by `metarl families NAME --render`.
pictures: $(DEV)
	$(BIN)/python docs/pictures.py

clean:
	rm -rf .venv site build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find metarl envs agents tests -name __pycache__ -type d -prune -exec rm -rf {} +
