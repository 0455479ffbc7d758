# regen: `make repro` sets everything up and runs the whole pipeline; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONUNBUFFERED := 1
# Where the environment forbids byte code, each of some 200 processes of a run would compile torch's sources anew: 2 s.
unexport PYTHONDONTWRITEBYTECODE

# Where a user has said that pip installs elsewhere.
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER

# A container's user may be a number without a name and a home, and DVC wants both.
ifeq ($(LOGNAME)$(USER),)
export USER := user$(shell id -u)
endif
ifeq ($(shell [ "$$HOME" != / ] && [ -d "$$HOME" ] && echo yes),)
export HOME := $(CURDIR)/.work/home
$(shell mkdir -p .work/home)
endif

READY := $(VENV)/.ready
INSTALL := $(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python  # into .venv, whatever else is active
overrides = $(shell sed -e 's/#.*//' -e '/^[[:space:]]*$$/d' -e 's/^/-S /' presets/$(1))

.PHONY: help setup repro smoke portraits full studies verify figures changes test team test-team lint ui report showcase push pull resolve gc mlflow-sync docs bench lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY)  ## a .venv with the pinned, hash-checked packages

$(READY): requirements.lock requirements-uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11; run: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

repro: setup  ## download, prepare, train, evaluate, report: only what is not current (JOBS= stages at a time)
	@regen machine --run repro
	regen repro $(if $(JOBS),--jobs $(JOBS))
	@echo "report: $(CURDIR)/reports/index.html"

smoke: setup  ## the same path, tiny, in a copy of the repository (.work/smoke)
	@regen machine --run smoke
	python -m tests.smoke .work/smoke
	@echo "report: $(CURDIR)/.work/smoke/reports/index.html"

portraits: setup  ## models of painted portraits: the Rijksmuseum's, or a game's where it cannot be reached
	@regen add portraits rijksmuseum --if-missing || regen add portraits wesnoth
	regen repro portraits $(if $(JOBS),--jobs $(JOBS))
	@regen report portraits

full: setup  ## the long trainings (presets/full); best on a GPU
	dvc exp run --name full $(call overrides,full)

studies: setup  ## the long studies (presets/studies): error bars over seeds, whole tables
	dvc exp run --name studies $(call overrides,studies)

verify: setup  ## hold the figures of this run against those that are committed
	regen verify

figures: setup  ## the figures of one model in all experiments: make figures MODEL=punks_vae
	@test -n "$(MODEL)" || { echo "error: of which model? make figures MODEL=punks_vae" >&2; exit 1; }
	@regen figures "$(MODEL)"

changes: setup  ## what changed in params and figures since HEAD
	@regen changes

test: setup  ## lint, types, and all tests, in several processes
	$(MAKE) --no-print-directory lint
	pytest tests -rs --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

team: setup  ## a team's server on this machine, for a try: PostgreSQL, S3, MLflow with two users
	@python -m tests.team

test-team: setup  ## two users with PostgreSQL, MLflow's users, S3 and SSH: real ones, on this machine
	pytest tests/team -rs

lint: setup  ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

ui: setup  ## the trainings in MLflow: a team's server, or mlflow.db on http://127.0.0.1:5000
	@regen ui

report: setup  ## only the report, and open it
	dvc repro --single-item report
	@python -m webbrowser "file://$(CURDIR)/reports/index.html" > /dev/null || true

showcase: setup  ## the README's picture, of what is trained here
	python -m regen.report.showcase

push: setup  ## share data, models and the run-cache: nothing is trained twice in a team
	dvc push --run-cache

pull: setup  ## fetch what others have run; then `dvc repro` reruns only what is new
	dvc pull --run-cache --allow-missing

resolve: setup  ## after a merge conflict in dvc.lock: keep what either side has run, run the rest
	@regen resolve

gc: setup  ## free the cache of what no branch, tag or experiment names (CLOUD=1: the remote's, too)
	@python -m regen.commands.gc $(if $(CLOUD),--cloud)

mlflow-sync: setup  ## send to the tracking server what it missed, exactly once
	regen sync

docs: setup  ## the pages of docs/ as a site, in .work/site; with figures and pictures where they are
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict
	@echo "pages: $(CURDIR)/.work/site/index.html"

bench: setup  ## speed, side by side with others' implementations
	python benchmarks/run.py

clean:  ## forget interrupted trainings, studies and sweeps, and the smoke run
	rm -rf .work/train .work/studies .work/sweeps .work/smoke
	find .work -type f '(' -name '*.lock' -o -name '*.pid' ')' -delete 2> /dev/null || true

lock:  ## resolve the packages anew (after a change of pyproject.toml)
	$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --extra dev --extra docs --extra fid --extra ray --extra search --extra team --no-header pyproject.toml -o requirements.lock
