# Every target makes .venv where it is missing, so each of them is the first command on a new machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STAMP_OF_DEMO := $(VENV)/.installed-for-demo
AUDIT := $(VENV)/audit
OLDEST := .venv-oldest
# Packages come from the index alone; the Hub is never asked.
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Tests start hundreds of processes; each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo smoke test test-all test-oldest check check-security style docs bench clean

help:  ## What there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## .venv with llmkit and everything to work on it
$(STAMP): $(STAMP_OF_DEMO)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# What a newcomer waits for: half of `dev`. The server is what the demo's last words suggest.
$(STAMP_OF_DEMO): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[serve]'
	touch $@

demo: $(STAMP_OF_DEMO)  ## The whole flow on embedded data: offline, minutes on two cores
	rm -rf runs/demo
	$(BIN)/llmkit demo

smoke: install  ## The four commands on the tiny recipes, under a minute
	rm -rf runs/tiny-pretrain runs/tiny-squad
	$(BIN)/llmkit tokenize -c demo tokenizer.vocab_size=2000
	$(BIN)/llmkit pretrain -r tiny/pretrain
	$(BIN)/llmkit finetune -r tiny/squad
	$(BIN)/llmkit eval runs/tiny-squad

test: install  ## The tests, minutes on two cores. COVERAGE=1 counts the lines they run, and takes longer
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'not slow' $(if $(COVERAGE),--cov --cov-report=term)

test-all: install  ## The slow tests too
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term

# The marker is on files, each of which asks much of a library: two steps of every recipe, the models, the Trainer, the Hub
# read and written, tokenizers, metrics, export, recipes, the command line. The others ask the same in more ways, or nothing.
test-oldest: $(OLDEST)/.installed  ## Tests with the oldest libraries allowed, minutes
	$(OLDEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal -m 'oldest and not slow'

# An oldest version goes before the one of constraints.txt. No tool but pytest: their own needs are newer than the oldest.
$(OLDEST)/.installed: pyproject.toml constraints.txt constraints-oldest.txt
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	awk -F == '!/^#/ && !seen[$$1]++' constraints-oldest.txt constraints.txt >$(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/constraints.txt \
		--editable '.[explain,export]' hypothesis pytest pytest-xdist
	touch $@

check: install  ## Lint, format, types, generated documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

# The tool has an environment of its own, where it cannot change what was tested. --strict: a package of which the index
# knows nothing was not looked up, and is an error.
check-security:  ## Known vulnerabilities of the pinned dependencies; asks pypi.org
	test -x $(AUDIT)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip install --quiet pip-audit; }
	$(AUDIT)/bin/pip-audit --strict --progress-spinner off --no-deps --disable-pip --requirement constraints.txt

style: install  ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install  ## Write the generated pages, and record the output that the guide shows: minutes
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/record.py

bench: install  ## Side by side with transformers' scripts, hours: see docs/benchmarks.md for what it needs
	@test -n "$(SCRIPTS)" -a -n "$(MODEL)" -a -n "$(ANSWERER)" -a -n "$(TRAIN)" -a -n "$(VALIDATION)" -a -n "$(TEXT)" || \
		{ echo "give SCRIPTS, MODEL, ANSWERER, TRAIN, VALIDATION and TEXT: docs/benchmarks.md says what they are"; exit 1; }
	$(BIN)/python benchmarks/tokenize_text.py --run-mlm $(SCRIPTS)/run_mlm.py --text $(TEXT) --tokenizer $(MODEL)
	$(BIN)/python benchmarks/finetune.py --run-qa $(SCRIPTS)/run_qa.py --model $(MODEL) --data $(TRAIN)
	$(BIN)/python benchmarks/evaluate.py --run-qa $(SCRIPTS)/run_qa.py --model $(ANSWERER) --data $(VALIDATION)
	for shape in minilm-l6 bert-mini; do \
		$(BIN)/python benchmarks/pretrain.py --run-mlm $(SCRIPTS)/run_mlm.py --text $(TEXT) --tokenizer $(MODEL) \
			--shape $$shape || exit 1; \
	done

clean:  ## Remove what was made here
	rm -rf $(VENV) $(OLDEST) benchmarks/work .mypy_cache .pytest_cache .ruff_cache build dist
