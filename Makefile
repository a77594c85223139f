# The commands of this project. `make help` lists them.
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: help env lock run test check bench faults clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

env: $(VENV)/.synced ## make the Python environment from the lock file

$(VENV)/bin/uv: .python-version
	@python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' || { echo "Python $$(cat .python-version) is needed: $$(python3 --version) was found. Install it (pyenv reads .python-version) and try again."; exit 1; }
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check uv

$(VENV)/.synced: requirements.lock pyproject.toml $(VENV)/bin/uv
	$(VENV)/bin/uv pip sync --quiet --python $(PY) --require-hashes requirements.lock
	$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	@touch $@

lock: $(VENV)/bin/uv ## resolve the dependencies again (hashes, no index address)
	$(VENV)/bin/uv pip compile --quiet --upgrade --python $(PY) --generate-hashes --no-emit-index-url --no-header --extra local pyproject.toml -o requirements.lock

run: env ## start everything on this machine; Ctrl-C ends it
	@exec $(VENV)/bin/control-centre dev

test: env ## all tests, on real parts, from nothing
	$(PY) -m pytest

check: env ## format, lint, types, import rules, every requirement accounted for
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m tests.coverage_file

bench: env ## figures, as ratios in one run
	$(PY) -m tests.bench

clean: ## forget the state of `make run`
	rm -rf .stack
