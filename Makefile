# Every command works on a fresh clone with nothing but Python 3.10+ and make: it sets up what it needs first.

PYTHON ?= python3
AIRFLOW_VERSION ?= 3.3.2
# Airflow's dependencies as of a date on which they worked together; uv's replacement for a constraints file.
EXCLUDE_NEWER ?= 2026-11-20
VENV ?= .venv
EXTRAS ?= s3
GROUP ?= dev

BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(AIRFLOW_VERSION)

# Nothing here may look for credentials on the network.
export AWS_EC2_METADATA_DISABLED := true
export AWS_SHARED_CREDENTIALS_FILE := /dev/null
export AWS_CONFIG_FILE := /dev/null
export NO_GCE_CHECK := true
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) ## Run an example DAG against the sandbox and list the files it stored
	@$(BIN)/python scripts/demo.py

.PHONY: airflow
airflow: $(READY) ## Run the sandbox and a local Airflow with its UI (PORT=8080) until Ctrl-C
	@$(BIN)/python scripts/local_airflow.py

.PHONY: test
test: $(READY) ## Run the tests
	$(BIN)/python -m pytest -n 4

.PHONY: test-slow
test-slow: $(READY) ## Run the tests that need real Airflow processes
	$(BIN)/python -m pytest -m slow --ignore tests/storages

.PHONY: test-storages
test-storages: ## Run the tests against real S3, Azure and GCS servers
	@$(MAKE) --no-print-directory VENV=$(VENV)-storages EXTRAS=s3,gcs,azure GROUP=storages .test-storages

.PHONY: .test-storages
.test-storages: $(READY)
	$(BIN)/python -m pytest -m slow tests/storages

.PHONY: scale-out
scale-out: ## Run 5,000 media over two Celery workers (ARGS=--help shows what else it can show)
	@$(MAKE) --no-print-directory VENV=$(VENV)-scale GROUP=scale .scale-out

.PHONY: .scale-out
.scale-out: $(READY)
	@$(BIN)/python scripts/scale_out $(ARGS)

.PHONY: lint
lint: $(READY) ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.PHONY: build
build: $(READY) ## Build the wheel and the source distribution into dist/, and try the wheel
	rm -rf dist
	$(BIN)/uv build --quiet --python $(BIN)/python
	$(BIN)/python scripts/smoke_test.py dist

.PHONY: bench
bench: $(READY) ## Measure what importing costs a DAG file
	$(BIN)/python benchmarks/import_cost.py

.PHONY: clean
clean: ## Remove everything these commands made
	rm -rf $(VENV) $(VENV)-storages $(VENV)-scale .demo .scale-out dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is %s; name another with: make PYTHON=..." % sys.version.split()[0])'
	@echo "Setting up Airflow $(AIRFLOW_VERSION) in $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --exclude-newer $(EXCLUDE_NEWER) \
		--editable '.[$(EXTRAS)]' --group $(GROUP) 'apache-airflow==$(AIRFLOW_VERSION)'
	@touch $@
