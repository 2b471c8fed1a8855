# The one menu. Needs make and Python 3.11 or newer; everything else is installed into .venv by whichever command comes first.

PYTHON ?= python3
DISTRIBUTIONS := models inference-server gateway-server mobile-client-mock
REQUIREMENTS := pyproject.toml tools/environment $(DISTRIBUTIONS:%=%/pyproject.toml)
RUN := .venv/bin/python
MODEL ?= heatmap
OUT ?= runs/own/weights

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo up test browser check drills bench train retrain evaluate reports docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: .venv/.serving ## a photo travels from the phone to the gallery and back (PHOTOS=dir: your own people; ARGS=...)
	@tools/timed "Demo" $(RUN) -m demo run $(if $(PHOTOS),--photos "$(PHOTOS)") $(ARGS)

up: .venv/.serving ## both servers, kept running; prints their addresses and an operator key
	@tools/timed "Servers" $(RUN) -m demo up $(if $(PHOTOS),--photos "$(PHOTOS)")

test: .venv/.developing ## every test (ARGS='-k gallery': some of them)
	@tools/timed "Tests" $(RUN) -m pytest $(ARGS)

browser: .venv/.developing ## console and phone page in a real Chromium, screenshots in runs/browser (ARGS='-k phone': some of it)
	@$(RUN) -m tests.browser.chromium
	@tools/timed "Browser tests" $(RUN) -m pytest -m browser tests/browser $(ARGS)

check: .venv/.developing ## ruff, its formatter and mypy --strict
	@tools/timed "Lint" $(RUN) -m ruff check
	@tools/timed "Format" $(RUN) -m ruff format --check
	@tools/timed "Types" $(RUN) -m mypy

drills: .venv/.developing ## servers killed, starved and attacked while phones upload (DRILLS="name ...": some; ARGS=--small: short)
	@tools/timed "Drills" $(RUN) -m tests.system.drills $(DRILLS) $(ARGS) --report $(or $(REPORT),runs/drills.md)

bench: .venv/.developing ## our speed against the paper's way (BENCH=name: one of them)
	@tools/timed "Benchmarks" $(RUN) tests/benchmarks/run.py $(BENCH)

train: given-CONFIG .venv/.developing ## one network from one file: CONFIG=models/configs/base.toml
	@tools/timed "Training $(CONFIG)" .venv/bin/face-models train "$(CONFIG)"

retrain: given-PHOTOS .venv/.developing ## networks that also learnt your own people: PHOTOS=folder of folders, OUT=weights folder
	@mkdir -p "$(OUT)"
	@tools/timed "Your photos" .venv/bin/face-models import "$(PHOTOS)" --data runs/own/data
	@tools/timed "Base network" .venv/bin/face-models train models/configs/own/base.toml --data runs/own/data --runs runs/own
	@tools/timed "Heatmap network" .venv/bin/face-models train models/configs/own/heatmap.toml --data runs/own/data --runs runs/own
	@tools/timed "Export" .venv/bin/face-models export --data runs/own/data --runs runs/own --weights "$(OUT)" \
		--checkpoints runs/own/checkpoints --json runs/own/validation.json

evaluate: given-PAIRS given-IMAGES .venv/.developing ## 1:1 accuracy: PAIRS=pairs.csv IMAGES=folder MODEL=heatmap|base
	@mkdir -p runs
	@tools/timed "Evaluation" .venv/bin/face-models evaluate --pairs "$(PAIRS)" --images "$(IMAGES)" \
		--model $(MODEL) --json runs/evaluation-$(MODEL).json

reports: given-DATA .venv/.developing ## every figure of the shipped networks anew: DATA=training data folder
	@tools/timed "Reports" tools/reports "$(DATA)"

docs: .venv/.serving ## write the README's tables anew from the code
	@tools/timed "Documents" $(RUN) -m tools.documents

clean: ## remove the environment and caches; data/ and runs/ stay
	@rm -rf .venv .ruff_cache .mypy_cache .pytest_cache .coverage htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.serving .venv/.developing: $(REQUIREMENTS)
	@PYTHON="$(PYTHON)" tools/timed "Environment for $(@F:.%=%)" tools/environment $(@F:.%=%)

given-%:
	@: $(if $($*),,$(error say which: make $(MAKECMDGOALS) $*=...))
