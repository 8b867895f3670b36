# Head Atlas: `make app` serves the demo atlas, `make test` runs every test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 7860

.PHONY: app test fast test-cluster check format clean chromium bench-peers

app: $(VENV)/.app
	HOST=$(HOST) PORT=$(PORT) MODEL="$(MODEL)" $(BIN)/python app.py

test: $(VENV)/.dev chromium
	$(BIN)/python -m pytest

fast: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not browser and not slow"

# Ray takes 240 MB; where it is installed, `make test` runs these too.
test-cluster: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -r requirements-cluster.txt
	$(BIN)/python -m pytest tests/build/test_cluster.py

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.app: requirements.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || \
	  { echo "Could not make $(VENV): on Debian, apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.dev: $(VENV)/.app requirements-dev.txt requirements-mcp.txt pyproject.toml
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

# The browser tests drive Debian's Chromium; it is installed here where that is allowed.
chromium:
	@command -v chromium >/dev/null || { \
	  echo "The browser tests need the Debian package 'chromium'; installing it with apt-get."; \
	  SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq chromium >/dev/null; } || \
	  { echo "Could not install it. Please run: apt-get install chromium"; exit 1; }

# What `scripts/bench.py sweep` compares with, each in an environment of its own. torch is the one we pin.
TORCH := $(shell grep '^torch==' requirements.txt)
bench-peers: .bench/transformer-lens-2/.done .bench/transformer-lens-4/.done .bench/nnsight/.done

.bench/transformer-lens-2/.done: PEER := transformer-lens==2.18.0 pyarrow==18.1.0 datasets==3.1.0
.bench/transformer-lens-4/.done: PEER := transformer-lens==4.3.0
.bench/nnsight/.done: PEER := nnsight==0.8.1 transformers==5.23.0
.bench/%/.done:
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet $(TORCH) $(PEER)
	touch $@

clean:
	rm -rf $(VENV) .bench build dist .pytest_cache .mypy_cache .ruff_cache
