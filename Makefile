# make reproduce   the six control tasks, in minutes: a table here, report.json and report.html in reproduction/
# make test        all tests, notebooks included
# make book        the notebooks as a web site in _build/book/
# make lab         JupyterLab on the first chapter
# make student     the chapters with blanks, for a class, in student/
# make solutions   the chapters with the blanks filled in, in solved/
# make slides      slides of the chapters, in _build/slides/; of some: make slides CHAPTERS="02 09b"
# make colab ADDRESS=https://github.com/OWNER/REPO   the notebooks with badges for Colab, in colab/
# make browser     a page that runs the shipped model in the browser, in _build/browser/
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
META := setup.py settings.ini pyproject.toml constraints.txt
export PIP_ROOT_USER_ACTION = ignore

.PHONY: help reproduce test book lab student solutions slides clean browser colab
help:
	@sed -n '/^# make /s/^# //p' Makefile

reproduce: .venv/.run
	@$(BIN)/dlm-reproduce --protocol quick --out reproduction

test: .venv/.dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --no-header -n 2 --dist worksteal $(ARGS)

book: .venv/.dev
	@$(BIN)/sphinx-build -q -W --keep-going -c docs nbs _build/book && echo "The book: _build/book/index.html"

browser: .venv/.run
	@OMP_NUM_THREADS=1 $(BIN)/python scripts/browser.py

lab: .venv/.dev
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) nbs/index.ipynb

student: .venv/.run
	@$(BIN)/python scripts/exercises.py student student

solutions: .venv/.run
	@$(BIN)/python scripts/exercises.py solutions solved

colab: .venv/.run
	@test -n '$(ADDRESS)' || { \
	  echo 'Say where the repository is: make colab ADDRESS=https://github.com/OWNER/REPO' >&2; exit 2; }
	@$(BIN)/python scripts/places.py '$(ADDRESS)'

slides: .venv/.dev
	@$(BIN)/python scripts/slides.py _build/slides $(CHAPTERS)

clean:
	@rm -rf _build build dist reproduction *.egg-info .pytest_cache

# The stamps .venv/.run and .venv/.dev stand for what has been installed; they are older than META when META has changed.
.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) here; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Name another with: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Could not make .venv; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

.venv/.run: $(META) | .venv/bin/python
	@echo "Installing pinned packages into .venv (once; torch is the large one) ..."
	@$(PIP) install "$$(grep '^torch==' constraints.txt)" "$$(grep '^setuptools==' constraints.txt)"
	@$(PIP) install --no-build-isolation -c constraints.txt -e .
	@touch $@

.venv/.dev: .venv/.run
	@$(PIP) install --no-build-isolation -c constraints.txt -e '.[dev]'
	@touch $@
