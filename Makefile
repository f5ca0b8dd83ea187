# Thin names for the commands that stand in the README.
PYTHON ?= python3
BIN    := .venv/bin
# Small networks run slower with two threads on two busy cores, and each test worker has its own.
export OMP_NUM_THREADS ?= 1
WORKERS ?= 2

.PHONY: help book test notebooks lint mutants wheel-test real clean

help:
	@echo "make book        build the book and print where it is"
	@echo "make test        every formula test, every check of the book, every notebook"
	@echo "make notebooks   execute the notebooks whose code has changed"
	@echo "make lint        ruff and mypy"
	@echo "make mutants     mutation tests of the formulas (about an hour)"
	@echo "make wheel-test  build the wheel and run the library's tests against it"
	@echo "make real        tests on the real data sets under MAPPING_DATA"
	@echo "make clean       remove what the other targets made"

# The environment is ready when pip has finished; an interrupted install starts again.
.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed, this is ' + sys.version)"
	$(PYTHON) -m venv .venv
	@echo "Installing the pinned packages into .venv: some minutes, 8 GB."
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --requirement requirements.txt
	@touch $@

book: .venv/ready
	$(BIN)/jupyter-book build . -n -W --keep-going
	@echo "The book: $(CURDIR)/_build/html/index.html"

test: .venv/ready
	$(BIN)/python -m pytest --nbval --numprocesses $(WORKERS) --dist loadscope

notebooks: .venv/ready
	$(BIN)/python scripts/notebooks.py

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

mutants: .venv/ready
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	$(BIN)/python scripts/mutants.py

wheel-test: .venv/ready
	$(BIN)/python scripts/test_wheel.py

real: .venv/ready
	@test -d "$(MAPPING_DATA)" || { echo "Set MAPPING_DATA to the folder with the data sets (see book/data.md)."; exit 2; }
	$(BIN)/python -m pytest tests -m real

clean:
	rm -rf _build build dist .venv *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
