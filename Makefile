# Two commands are enough: `make app` and `make test`. Everything lives in .venv; nothing else is touched.
PYTHON ?= python3
PORT ?= 7860
VENV := .venv
BIN := $(VENV)/bin

.PHONY: app test quality style clean

# The stamps remember what was installed, so that a second run starts at once.
$(VENV)/.app: requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: tests/requirements.txt $(VENV)/.app
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

app: $(VENV)/.app
	$(BIN)/python app.py --port $(PORT)

test: $(VENV)/.dev
	$(BIN)/python -m pytest

quality: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

style: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)
