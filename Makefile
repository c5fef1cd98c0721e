# Two commands are enough: `make serve` runs a broker, `make test` runs the tests. Both set up what is missing in .venv.
# They need Python 3.11 or newer and make. PYTHON=... names the interpreter, ARGS="..." is handed on.

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

.DEFAULT_GOAL := help
.PHONY: help setup serve test campaigns check fmt bench bench-kafka bench-micro interop oracle docs clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(READY)  ## make the virtual environment, once and after pyproject.toml changed

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; name one with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

serve: $(READY)  ## run a broker on localhost:9092
	@exec $(BIN)/pybroker serve $(ARGS)

test: $(READY)  ## run the tests
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not java and not campaign" $(ARGS)

campaigns: $(READY)  ## run the long tests: faults on clusters, containers in network namespaces (root), measurements
	$(BIN)/python -m pytest -m campaign $(ARGS)

check: $(READY)  ## linters, types, layers, limits, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pybroker_protocol.schema.stubs --check
	$(BIN)/python -m pytest -q tests/tidy
	@if [ -n "$$KAFKA_CLIENTS_JAR" ]; then set -x; $(BIN)/python -m tests.protocol.schema_check; \
	else echo "schema check left out: set KAFKA_CLIENTS_JAR to a kafka-clients jar to compare with it"; fi

fmt: $(READY)  ## format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## write the generated pages and stubs anew
	$(BIN)/python -m pybroker_server.config.document > docs/configuration.md
	$(BIN)/python -m pybroker_server.handlers.document > docs/protocol.md
	$(BIN)/python -m pybroker_server.admin.document > docs/observability.md
	$(BIN)/python -m pybroker_protocol.schema.stubs

bench: $(READY)  ## measure this machine
	$(BIN)/pybroker bench suite --workers 3 $(ARGS)
	$(BIN)/pybroker bench workers

bench-kafka: $(READY)  ## measure beside Apache Kafka, and write docs/performance.md; needs Java 17 and Maven
	$(BIN)/pybroker bench kafka --jars "$$($(BIN)/python -m tests.interop.kafka jars)" \
	--json docs/performance.json --page docs/performance.md $(ARGS)

bench-micro: $(READY)  ## measure every hot path beside its stored baseline
	$(BIN)/python -m tests.bench.micro $(ARGS)

interop: $(READY)  ## run Kafka's own Java tools against the broker; needs Java 17 and Maven
	$(BIN)/python -m pytest -m java $(ARGS)

oracle: $(READY)  ## record anew what Apache Kafka answers; needs Java 17 and Maven
	$(BIN)/python -m tests.interop.kafka record

clean:  ## remove the virtual environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
