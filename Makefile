# Everything runs in .venv, which `make setup` builds with the versions of constraints.txt.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := vlmeval,lmms,train,deepspeed,liger,offline-judge,docs,dev

# One thread a process: the tests run in two processes on two cores.
TEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

.PHONY: setup demo docs test test-slow check format clean

setup: $(READY)

$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25,<27'
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $(READY)

demo: setup
	$(BIN)/python run.py --data SPYBench_MINI \
	    --model spy-always-refuse spy-literal spy-oracle spy-tiny-random

test: setup
	$(TEST) --numprocesses 2 --dist loadfile

test-slow: setup
	$(TEST) -m slow

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache
