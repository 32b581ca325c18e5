# Every target is idempotent. `make demo` and `make test` need nothing but make and Python 3.11 on Debian.
SHELL := /bin/sh
PY := .venv/bin/python
PYTEST := $(PY) -m pytest -q

.PHONY: demo stop test unit integration acceptance chaos lint bench setup venv engine stack clean

demo: setup
	@$(PY) -m scripts.demo

stop: venv
	@$(PY) -m scripts.stop

test: lint unit integration acceptance chaos

lint: venv
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy

unit: venv
	@$(PYTEST) tests/unit tests/property tests/contract -m "not engine" -n 2

integration: venv
	@$(PYTEST) tests/integration -n 2

acceptance: setup
	@$(PYTEST) tests/acceptance tests/contract -m engine -n 2 --dist loadfile

chaos: setup
	@$(PYTEST) tests/chaos -n 2 --dist loadfile

bench: setup
	@$(PY) -m bench

setup: venv engine stack

venv:
	@python3 scripts/bootstrap.py venv

engine:
	@python3 scripts/bootstrap.py engine

stack: venv engine
	@$(PY) -m scripts.stack

clean: stop
	@$(PY) -m scripts.stack --remove
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
