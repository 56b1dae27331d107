# A fresh machine needs two commands: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests compile small programs one after another: two processes share the work.
JOBS ?= 2

# Kills of `make torture`.
N ?= 30

.PHONY: demo test test-all torture lint clean

demo: $(VENV)/installed
	$(BIN)/python -m rlvr_jax.train --config=experiments/grpo.py:tiny --workdir=runs/demo

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow" --durations=30

test-all: $(VENV)/installed-test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# Runs that are killed at random instants have to end as if they had not been.
torture: $(VENV)/installed
	$(BIN)/python -m benchmarks.torture --kills $(N) --json benchmarks/results/torture.json

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/installed-test: $(VENV)/installed pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[test]"
	touch $@
