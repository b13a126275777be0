# Two commands do everything: `make run` (the demo on 2 ranks, gated against its baseline) and `make test`.
PYTHON ?= python3
VENV ?= .venv
PYTEST ?=
BIN := $(VENV)/bin

.PHONY: env run test lint clean

env: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	touch $@

JUDGED := mmvet,mmvet_turbo,mathvista_testmini,mmbench_video_8f,mmbench_video_16f

run: env
	$(BIN)/evalkit demo --out demo
	$(BIN)/torchrun --standalone --nproc-per-node 2 -m evalkit run \
		--model demo/checkpoint --card internvl2 --data-root demo --out runs/demo
	$(BIN)/torchrun --standalone --nproc-per-node 2 -m evalkit run \
		--model demo/checkpoint --tasks docvqa_val,infovqa_val,ai2d_test_no_mask,mmbench_dev_en,mmbench_dev_cn --data-root demo --out runs/demo
	$(BIN)/evalkit judge runs/demo --judge replay:demo/judges --tasks $(JUDGED)
	$(BIN)/evalkit table runs/demo --format md
	$(BIN)/evalkit check runs/demo --baseline results/demo-baseline

test: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST)

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo runs build dist
