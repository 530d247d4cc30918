# make demo                      from nothing to an alarm and a report, on simulated machines
# make demo DATA=path/to/data    the same on your recordings
# make test                      what every change must pass      make lint     style and types
# make verify                    what takes longer
# make test-device PYTHON=…      the device's part on another Python (3.10 on JetPack 6, 3.13)
# sudo make device-test          install, listen, alarm, uninstall, on an emulated arm64 board with systemd

PYTHON ?= python3
PIP_ARGS ?=
MARK ?= not verify
TESTS ?= tests
DATA ?=
VENV := .venv
BIN := $(VENV)/bin
DEVICE_VENV = .venv-device-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export OPENBLAS_NUM_THREADS = 1

.PHONY: demo test verify lint format test-device device-test install clean

demo: $(VENV)/installed
	rm -rf build/demo
	$(BIN)/python export/demo.py --out build/demo $(if $(DATA),--data "$(DATA)")

test: export OMP_NUM_THREADS = 1
test: $(VENV)/installed
	$(BIN)/python -m pytest $(TESTS) -m "$(MARK)" -n auto --dist loadfile

verify: $(VENV)/installed
	$(BIN)/python -m pytest -m verify --timeout 3600

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict edge_runtime
	$(BIN)/mypy calib train export

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# edge_runtime and calib with what the device installs and pytest, nothing else
test-device: export OMP_NUM_THREADS = 1
test-device:
	$(PYTHON) -m venv $(DEVICE_VENV)
	$(DEVICE_VENV)/bin/pip install -q $(PIP_ARGS) -c constraints.txt -e '.[calib,mic,relay,web]' pytest pytest-timeout pytest-xdist hypothesis
	$(DEVICE_VENV)/bin/python -m pytest tests/edge_runtime tests/calib -rs -m "$(MARK)" -n auto --dist loadfile

device-test: $(VENV)/installed
	PYTHON=$(CURDIR)/$(BIN)/python tests/jetson/machine/run.sh

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11, which training and export need: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(PIP_ARGS) -c constraints.txt -e '.[export,wav2vec,mic,relay,web,dev,tensorrt-rtx]'
	touch $@

clean:
	rm -rf build .venv .venv-device-* .pytest_cache .mypy_cache .ruff_cache .hypothesis
