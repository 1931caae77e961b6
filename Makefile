# Every chore is one word. `make studio` and `make test` set everything up on a fresh machine.

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3 2>/dev/null))
BIN := .venv/bin
STUDIO ?=

# Chromium drives the browser tests; Mesa's EGL draws the simulator without a screen.
SYSTEM_PACKAGES := chromium libegl1 libgl1-mesa-dri

# stretch_body loads pyrealsense2, which needs libusb; nothing has to be compiled.
ROBOT := .venv-robot
ROBOT_PACKAGES := libusb-1.0-0

# lmms-eval: what `make bench-vqa` asks of whom.
VQA := .venv-vqa
VQA_MODELS ?= base,lora
VQA_SET ?= tabletop
VQA_LIMIT ?= 100

.PHONY: help setup system studio test test-robot check fast browser bench bench-vqa screenshots sample format clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.installed  ## virtual environment with everything pinned

.venv/.installed: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed: apt install python3.11 python3.11-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "apt install python3-venv, then run make again"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

system:  ## system packages of the simulator and the browser tests (apt when root, else says what to install)
	@missing=""; for package in $(SYSTEM_PACKAGES); do \
	  dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || missing="$$missing chromium"; \
	test -z "$$missing" && exit 0; \
	if command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "Some tests and the simulator need system packages: sudo apt install$$missing"; fi

studio: setup  ## the studio on http://127.0.0.1:7860
	$(BIN)/python app.py $(STUDIO)

test: setup system  ## what CI runs, besides test-robot
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/python -m pytest

check: setup  ## ruff, format, architecture, fast tests
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/python -m pytest -m "not browser and not slow"

test-robot: $(ROBOT)/.installed  ## the Stretch driver through the real stretch_body, on emulated boards; CI runs it too
	$(ROBOT)/bin/python -m pytest -rs tests/robot_hardware

$(ROBOT)/.installed: requirements-robot.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed: apt install python3.11 python3.11-venv"; exit 1; }
	@missing=""; for package in $(ROBOT_PACKAGES); do \
	  dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	test -z "$$missing" || { command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ] && apt-get update -qq \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; } \
	  || { echo "The Stretch driver needs system packages: sudo apt install$$missing"; exit 1; }
	@test -x $(ROBOT)/bin/python || $(PYTHON) -m venv $(ROBOT)
	$(ROBOT)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-robot.txt
	@touch $@

browser: setup system  ## only the tests in a real browser
	$(BIN)/python -m pytest -m browser

bench: setup  ## speeds as ratios, measured side by side
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	$(BIN)/python -m bench

bench-vqa: setup $(VQA)/.installed  ## lmms-eval in its own environment, over HTTP against our served models
	$(BIN)/python -m vlm2vla evaluate vqa --harness lmms-eval --models $(VQA_MODELS) --set $(VQA_SET) --limit $(VQA_LIMIT)

$(VQA)/.installed: requirements-vqa.txt
	@test -x $(VQA)/bin/python || $(PYTHON) -m venv $(VQA)
	$(VQA)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps lmms-eval==0.7.3
	$(VQA)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-vqa.txt
	@touch $@

screenshots: setup system  ## retake the pictures of the README
	$(BIN)/python -m tests.browser.screenshots --data assets/sample

sample: setup  ## record the sample episodes of a fresh studio again (commit them rarely)
	rm -rf assets/sample
	$(BIN)/python -m vlm2vla record --task pick-up --count 10 --seed 100 --compact --out assets/sample/pick-up
	$(BIN)/python -m vlm2vla record --task pick-and-place --count 8 --seed 200 --compact --out assets/sample/pick-and-place
	$(BIN)/python -m vlm2vla record --task pick-place-lift --count 6 --seed 300 --compact --out assets/sample/pick-place-lift

format: setup  ## let ruff tidy up
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean:  ## forget the virtual environment and caches
	rm -rf .venv .venv-robot $(VQA) .pytest_cache .ruff_cache *.egg-info
