# Each target does everything from a bare Python 3.11 or newer, in the environment .venv:
#   make demo          train a small GPT on real text for one minute and let it write
#   make studio        write with a model and look inside it, in the browser; train more there
#   make course        run the ten sections
#   make docs          build the site and train its sections;  make docs STEPS=20  is faster
#   make notebooks     the sections as notebooks, for Jupyter and Colab
#   make test          lint and the fast tests;  make test-all  the slow ones too
#   make test-browser  only the tests that open pages in Chromium, which is installed if possible
#   make test-llama    exports in llama.cpp, which is compiled for it (some minutes)
#   make mutants       mutation testing of the core: do the tests notice a changed line?
# Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH_THERE := -c "import sys, torch; sys.exit(tuple(map(int, torch.__version__.split('.')[:2])) < (2, 8))" 2>/dev/null

.PHONY: demo studio course docs notebooks test test-all test-browser test-llama mutants screenshots chromium lint format clean

demo: $(VENV)/core.stamp
	$(BIN)/nanogpt train --minutes 1
	$(BIN)/nanogpt sample --tokens 400
	@echo; echo "look inside it, in the browser: make studio"

studio: $(VENV)/studio.stamp
	$(BIN)/nanogpt studio

course: $(VENV)/plot.stamp
	$(BIN)/python -m course

# Needs no network after installation. A quick build says so on each page.
docs: $(VENV)/docs.stamp
	$(BIN)/python -m docs.building $(if $(STEPS),--steps $(STEPS))

notebooks: $(VENV)/docs.stamp
	$(BIN)/python -m docs.building.notebooks notebooks

# The tests of one file share what they import and train, so they run in one process.
test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=term

# Both parts need Chromium: `nanogpt verify` opens pages too.
test-all: $(VENV)/test.stamp chromium
	$(BIN)/python -m pytest -n auto -m "not browser"
	$(MAKE) test-browser

# Here they share a server and a browser too.
test-browser: $(VENV)/test.stamp chromium
	$(BIN)/python -m pytest -n auto --dist loadfile -m browser

# Train a model, then take pictures of the studio's four views for the docs.
screenshots: $(VENV)/test.stamp chromium
	$(BIN)/python -m benchmarks.screenshots

# Install Debian's Chromium if there is no browser and the system allows it.
chromium:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
	  command -v $$name >/dev/null && exit 0; done; \
	{ test "$$(id -u)" = 0 && apt-get install -y -qq chromium >/dev/null 2>&1; } || \
	  echo "no Chromium here: the tests that open pages are skipped; install chromium to run them"

test-llama: $(VENV)/llama.stamp
	$(BIN)/python -m pytest -n auto -m llama

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m benchmarks.house

# Mutation testing of the core, in copies of this folder.
mutants: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e ".[mutants]"
	$(BIN)/python -m benchmarks.mutants

format: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m benchmarks.house --write

clean:
	rm -rf $(VENV) build docs/_build notebooks *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage

# Keep a torch that can be imported already, such as a build for a GPU or the small CPU build.
$(VENV)/env.stamp:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	  echo "Nano-GPT needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version);" \
	       "name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || { \
	  if $(PYTHON) $(TORCH_THERE); then shared=--system-site-packages; fi; \
	  $(PYTHON) -m venv $$shared $(VENV); }
	@touch $@

$(VENV)/constraints.txt: constraints.txt $(VENV)/env.stamp
	@if $(BIN)/python $(TORCH_THERE); then grep -v '^torch==' constraints.txt > $@; else cp constraints.txt $@; fi

$(VENV)/core.stamp: pyproject.toml $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e .
	@touch $@

$(VENV)/plot.stamp: $(VENV)/core.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e ".[plot]"
	@touch $@

$(VENV)/studio.stamp: $(VENV)/core.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e ".[studio]"
	@touch $@

# The installation includes the text that the sections train on; without a network the site is built without it.
$(VENV)/docs.stamp: $(VENV)/core.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e ".[docs]"
	-@$(BIN)/python -c "from nanogpt.text.corpus import load_corpus; load_corpus('shakespeare')" 2>/dev/null
	@touch $@

$(VENV)/test.stamp: $(VENV)/core.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e ".[test]"
	@touch $@

$(VENV)/llama.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e ".[llama]"
	@touch $@
