# Every target sets itself up: it needs python3 (3.11 or newer) and make, nothing else.
#   make book                 run every chapter and build the book      make book CHAPTER=03 PROFILE=gpu ARGS="-p seed=1"
#   make test                 all tests, every chapter under smoke      make test ARGS="-k wavelets"
PYTHON  ?= python3
PROFILE ?= cpu
CHAPTER ?=
ARGS    ?=
VENV    := .venv/bin
COURSE  := $(VENV)/python -m wavelab.course
TESTS   := --numprocesses=2 --dist=loadfile --nbval-lax --nbval-current-env
export MPLBACKEND ?= agg
# Threads that wait sleep: spinning ones slow torch down sixfold when another program wants the core.
export OMP_WAIT_POLICY ?= passive
# Silences one harmless line that the Jupyter kernel prints at each start.
export PYDEVD_DISABLE_FILE_VALIDATION = 1

.PHONY: help setup book run test lab train bench data lint notebooks record clean
.NOTPARALLEL:

help:      ## show this list
	@sed -n 's/^\([a-z]*\): .*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup:     ## make or refresh .venv; quick when nothing changed
	@$(PYTHON) -m wavelab.bootstrap

book: setup data  ## run the chapters on PROFILE and build the book
	@$(COURSE) book $(CHAPTER) --profile $(PROFILE) $(ARGS)

run: setup data   ## run the chapters on PROFILE without building the book
	@$(COURSE) run $(CHAPTER) --profile $(PROFILE) $(ARGS)

test: setup data  ## check sources, run every test and every chapter under smoke
	@$(COURSE) check
	@$(COURSE) prepare
	@WAVELAB_LIVE=0 $(VENV)/python -m pytest tests _build/nbval $(TESTS) $(ARGS)

lab: setup data   ## open the chapters in JupyterLab
	@$(VENV)/jupyter lab --notebook-dir=notebooks $(ARGS)

train: setup data ## train the models of a chapter from scratch, or go on where it was interrupted (CHAPTER=08)
	@test -n "$(CHAPTER)" || { echo "Name a chapter, as in: make train CHAPTER=08"; exit 1; }
	@$(COURSE) run $(CHAPTER) --profile $(PROFILE) --parameter train=true $(ARGS)

bench: setup data ## time the package against its peers
	@$(VENV)/python -m pip install -qq "pytorch_wavelets>=1.3" || echo "pytorch_wavelets could not be installed; its column is left out"
	@$(VENV)/python -m pip install -qq "diffusers>=0.30" || echo "diffusers could not be installed; the networks are not compared"
	@$(VENV)/python -m pip install -qq "astra-toolbox>=2.1" || echo "astra could not be installed; its projectors are not compared"
	@$(VENV)/python -m tests.bench $(ARGS)

data: setup       ## fetch and verify the data that the chapters read
	@$(VENV)/python -m wavelab.data fetch

lint: setup       ## check the style of the code
	@$(VENV)/ruff check . && $(VENV)/ruff format --check .

notebooks: setup  ## write the .ipynb beside each chapter's source
	@$(COURSE) notebooks $(CHAPTER)

record: setup     ## copy the records of the last run into data/results and the README
	@$(COURSE) record --profile $(PROFILE)

clean:     ## remove everything that make has made, except .venv and the cache
	@rm -rf _build *.egg-info && find . -name __pycache__ -not -path "./.venv/*" -prune -exec rm -rf {} +
