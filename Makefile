# The two commands of the README are `make demo` and `make test`. Each sets up its own virtual environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PYTHONUNBUFFERED := 1

.PHONY: demo test tests lint setup api lock clean
.DEFAULT_GOAL := setup

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kinodepth needs Python >= 3.11, found %d.%d; run make PYTHON=python3.x" % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing kinodepth and its dependencies into $(VENV) (about 6 GB with PyTorch; minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# make demo CLIP=path/to/video-or-folder runs it on your own clip.
demo: $(READY)
	@$(BIN)/python examples/demo.py $(if $(CLIP),--clip "$(CLIP)")

test: $(READY) lint tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: $(READY)
	$(BIN)/python -m pytest

# Write the stored public surface anew after a change that is meant.
api: $(READY)
	$(BIN)/python tests/test_api_surface.py

# Renew the lock file after a change of the dependencies in pyproject.toml.
lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate -q -o constraints.txt

clean:
	rm -rf $(VENV) demo_output
