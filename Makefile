# Every command works on a fresh clone with nothing but Python 3.10+ and make: it sets up what it needs first.

PYTHON ?= python3
AIRFLOWS := $(shell awk '/^[0-9]/ {print $$1}' airflow-versions.txt)
OLDEST := $(firstword $(AIRFLOWS))
NEWEST := $(lastword $(AIRFLOWS))
# Airflow 3.0 has no form to show without another provider.
UI_AIRFLOWS := $(filter-out 3.0.%,$(AIRFLOWS))
AIRFLOW_VERSION ?= $(NEWEST)
EXCLUDE_NEWER ?= $(shell awk '{sub(/^preview +/, "")} $$1 == "$(AIRFLOW_VERSION)" {print $$2}' airflow-versions.txt)
VENV ?= .venv
EXTRAS ?= s3
GROUP ?= dev
TESTS ?= tests/integration/ui

# What codespell takes for one word: "a media ID" and the like, a phrase of our list, a word.
WORDS := .ci/plain-english.txt
WORD = (?i:\b(?:\w+ media (?:file|ID|URL|type|storage|message)s?|$(shell sed 's/->.*//' $(WORDS) | paste -sd '|'))\b)|[\w'’-]+
PROSE := docs README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md example_dags scripts benchmarks airflow_provider_nxcloud

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
	@awk -F ':.*## ' '/^##@ / {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' \
		$(MAKEFILE_LIST)
	@printf '\nWith another Airflow of airflow-versions.txt: make test AIRFLOW_VERSION=3.1.8 VENV=.venv-3.1.8\n'

##@ Try it

.PHONY: demo
demo: $(READY) ## Run an example DAG against the sandbox and list the files it stored
	@$(BIN)/python scripts/demo.py

.PHONY: airflow
airflow: $(READY) ## Run the sandbox and a local Airflow with its UI (PORT=8080) until Ctrl-C
	@$(BIN)/python scripts/local_airflow.py

.PHONY: scale-out
scale-out: ## Run 5,000 media over two Celery workers (ARGS=--help shows what else it can show)
	@$(MAKE) --no-print-directory VENV=$(VENV)-scale GROUP=scale .scale-out

.PHONY: .scale-out
.scale-out: $(READY)
	@cd scripts && $(abspath $(BIN))/python -m scale_out $(ARGS)

##@ Check a change

.PHONY: lint
lint: $(READY) ## Check style, types, who imports whom, and the English
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python scripts/structure.py --check
	@$(BIN)/codespell --dictionary=-,$(WORDS) --regex="$(WORD)" $(PROSE)

.PHONY: test
test: $(READY) ## Run the tests
	$(BIN)/python -m pytest -n 4

.PHONY: coverage
coverage: $(READY) ## Run the tests, also those against S3, and list the lines and branches that none of them reaches
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 4
	$(BIN)/coverage run -m pytest -m slow tests/integration/storages
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

.PHONY: mutation
mutation: ## Change the code of api, http, storage and transfer bit by bit, and list what no test sees (ONLY='*.http.*')
	@$(MAKE) --no-print-directory VENV=$(VENV)-mutation GROUP=mutation .mutation

.PHONY: .mutation
.mutation: $(READY)
	$(BIN)/mutmut run $(if $(ONLY),'$(ONLY)')
	$(BIN)/mutmut results | grep -v 'not checked'

.PHONY: fuzz
fuzz: $(READY) ## Put 100,000 mutated HTTP responses through the operator (ARGS=--help)
	@$(BIN)/python tests/helpers/response_fuzz.py $(ARGS)

.PHONY: test-connections
test-connections: ## Run urllib3's own tests over our connection class
	@$(MAKE) --no-print-directory VENV=$(VENV)-connections GROUP=urllib3 .test-connections

.PHONY: .test-connections
.test-connections: $(READY)
	$(BIN)/python tests/helpers/urllib3_suite.py $(VENV)

.PHONY: test-slow
test-slow: $(READY) ## Run the tests that need real Airflow processes
	$(BIN)/python -m pytest -m slow -n 2 tests/docs tests/functional/example_dags tests/integration/airflow tests/integration/proxies
	$(BIN)/python -m pytest -m slow tests/functional/get_media tests/integration/scheduler  # how fast Airflow ends tasks: one at a time

.PHONY: test-storages
test-storages: ## Run the tests against real S3, Azure and GCS servers
	@$(MAKE) --no-print-directory VENV=$(VENV)-storages EXTRAS=s3,gcs,azure GROUP=storages .test-storages

.PHONY: .test-storages
.test-storages: $(READY)
	$(BIN)/python -m pytest -m slow tests/integration/storages

.PHONY: test-queue
test-queue: ## Run the tests with a queue (SQS by moto), which kill a real Airflow at each step
	@$(MAKE) --no-print-directory VENV=$(VENV)-queue GROUP=queue .test-queue

.PHONY: .test-queue
.test-queue: $(READY)
	$(BIN)/python -m pytest -m slow tests/integration/queue

.PHONY: test-ui
test-ui: $(UI_AIRFLOWS:%=.test-ui-%) ## Run the tests of the connection form in a browser

# What these are told decides what they show; the browser is for the two ends.
$(patsubst %,.test-ui-%,$(filter-out $(OLDEST) $(NEWEST),$(UI_AIRFLOWS))): TESTS = tests/integration/ui/test_hook_meta.py

.test-ui-%: .chromium
	@$(MAKE) --no-print-directory VENV=$(VENV)-ui-$* AIRFLOW_VERSION=$* GROUP=ui TESTS=$(TESTS) .test-ui

.PHONY: .test-ui
.test-ui: $(READY)
	$(BIN)/python -m pytest -m slow $(TESTS)

.PHONY: .chromium
.chromium:
	@command -v chromium > /dev/null || \
		{ echo "This needs: apt-get install --no-install-recommends chromium fonts-dejavu-core"; exit 1; }

##@ Check it with every Airflow and Python

.PHONY: matrix
matrix: matrix-ends matrix-between ## Try every supported Airflow and Python: both of the following

.PHONY: matrix-ends
matrix-ends: $(READY) ## Run all fast tests with the oldest, a middle and the newest Airflow, and the lowest dependencies
	$(BIN)/nox --tags ends

.PHONY: matrix-between
matrix-between: $(READY) ## Run a few tests and a DAG with each Airflow and Python between them, two at a time
	$(BIN)/nox --list --json --tags between \
		| $(BIN)/python -c 'import json, sys; print(*(cell["session"] for cell in json.load(sys.stdin)), sep="\n")' \
		| xargs -d '\n' -P 2 -I {} $(BIN)/nox --session {}

.PHONY: matrix-preview
matrix-preview: $(READY) ## Run all fast tests with the preview of the next Airflow, which may fail
	$(BIN)/nox --tags preview

.PHONY: matrix-full
matrix-full: $(READY) ## Run all fast tests with every supported Airflow and Python
	$(BIN)/nox --sessions tests lowest

##@ Measure

.PHONY: bench
bench: $(READY) ## Measure what importing costs a DAG file
	$(BIN)/python benchmarks/import_cost.py

.PHONY: bench-all
bench-all: ## Measure the operator beside the other ways to do its job, a quarter of an hour
	@$(MAKE) --no-print-directory VENV=$(VENV)-bench GROUP=bench .bench-all

.PHONY: .bench-all
.bench-all: $(READY)
	$(BIN)/python benchmarks/throughput.py $(BENCH)
	$(BIN)/python benchmarks/triggers.py

.PHONY: plots
plots: ## Draw the plots in docs/images from the tables that bench-all and scale-out have written
	@$(MAKE) --no-print-directory VENV=$(VENV)-bench GROUP=bench .plots

.PHONY: .plots
.plots: $(READY)
	$(BIN)/python benchmarks/plots.py

.PHONY: reliability
reliability: $(READY) ## Fetch 20,000 media through faults and SIGKILLs and compare them; measure memory (10 minutes)
	$(BIN)/python benchmarks/soak.py
	$(BIN)/python benchmarks/memory.py

.PHONY: callbacks
callbacks: $(READY) ## Post 1,000 callbacks a minute to a real Airflow, and have a run read 30,000 events
	CALLBACKS=1000 CALLBACK_SECONDS=60 CALLBACK_EVENTS=30000 CALLBACK_MEDIA=10000 \
		$(BIN)/python -m pytest -m slow --timeout 3600 tests/integration/scheduler/test_callbacks.py

##@ Release and upkeep

.PHONY: build
build: $(READY) ## Build the wheel and the source distribution into dist/, and try the wheel
	rm -rf dist
	$(BIN)/uv build --quiet --python $(BIN)/python
	$(BIN)/python scripts/smoke_test.py dist

.PHONY: docs
docs: $(VENV)-docs/.ready ## Build the documentation with a reference from the docstrings into site/
	@NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --quiet --strict
	@echo "Open site/index.html"

.PHONY: structure
structure: $(READY) ## Draw in CONTRIBUTING.md what imports what
	$(BIN)/python scripts/structure.py

.PHONY: pictures
pictures: ## Take the pictures of Airflow's interface in docs/images
	@$(MAKE) --no-print-directory PICTURES=$(CURDIR)/docs/images TESTS=tests/integration/ui/test_pictures.py \
		.test-ui-$(OLDEST) .test-ui-$(NEWEST)

.PHONY: clean
clean: ## Remove everything these commands made
	rm -rf $(VENV) $(VENV)-* .coverage* .demo .scale-out dist site .mypy_cache .nox .pytest_cache .ruff_cache .hypothesis mutants

$(READY): pyproject.toml Makefile airflow-versions.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is %s; name another with: make PYTHON=..." % sys.version.split()[0])'
	@test -n "$(EXCLUDE_NEWER)" || { echo "airflow-versions.txt has no Airflow $(AIRFLOW_VERSION)"; exit 1; }
	@echo "Setting up Airflow $(AIRFLOW_VERSION) in $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --exclude-newer $(EXCLUDE_NEWER) \
		--editable '.[$(EXTRAS)]' --group $(GROUP) 'apache-airflow==$(AIRFLOW_VERSION)'
	@touch $@

$(VENV)-docs/.ready: pyproject.toml Makefile
	@$(PYTHON) -m venv --clear $(VENV)-docs
	@$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(VENV)-docs/bin/uv pip install --quiet --python $(VENV)-docs/bin/python --exclude-newer $(EXCLUDE_NEWER) --group docs
	@touch $@
