# Everything works on a fresh clone: the first target makes $(VENV) and installs; after that nothing needs a network.
PYTHON ?= python3
VENV ?= .venv
N ?= 01
BIN := $(VENV)/bin
READY := $(VENV)/.installed
OFFLINE := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
NBVAL := --nbval-cell-timeout=600 -p no:cacheprovider -x
BOOKS := $(wildcard notebooks/*.ipynb)
# Tests that train nothing and draw next to nothing.
QUICK := $(wildcard $(patsubst %,tests/test_%.py,architecture project lessons notebooks ledger errors text show metrics))
MODULES := $(subst /,.,$(basename $(wildcard paidiff_*/*.py paidiff_*/*/*.py)))
# Without the operators of Data-Juicer: they want an extra of their own.
API := $(filter-out %.__init__ %.__main__ %.juicer_operators paidiff_world.pretrain.%,$(MODULES)) '!paidiff_lib.cleaning.juicer_operators'

.PHONY: lesson scratch notebooks check lint types quick test lab bench api projects wheels bundle answers book test-wheels test-gpu test-layouts test-lessons-on-layouts diagrams $(BOOKS)

lesson: $(READY)
	$(OFFLINE) $(BIN)/python tools/run_lesson.py $(N)

# From lessons/*.py, both languages; N=03 for one.
notebooks: $(READY)
	$(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python tools/build_notebooks.py $(if $(filter command line,$(origin N)),$(N))

# The model of lesson 11, trained whole and checked: a quarter of an hour on one thread. SEED=1 make scratch: another one.
scratch: $(READY)
	$(BIN)/python lessons/scratch.py

# Lesson 17 with each of its sample projects, whole: some minutes.
projects: export OMP_NUM_THREADS = 1
projects: $(READY)
	$(OFFLINE) $(BIN)/python tools/run_projects.py

# The fast ring, about a minute on two cores.
check: $(READY)
	@$(MAKE) --no-print-directory -k -j 2 lint types quick

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/basedpyright --pythonpath $(BIN)/python

quick: export OMP_NUM_THREADS = 1
quick: $(READY)
	$(OFFLINE) $(BIN)/python -m pytest $(QUICK)

# Two at a time with one thread each: no thread waits for another, and one thread rounds the same everywhere.
test: export OMP_NUM_THREADS = 1
test: $(READY)
	$(OFFLINE) $(BIN)/python -m pytest tests -n 2 --dist worksteal
	@$(MAKE) --no-print-directory -k -j 2 $(BOOKS)

# One pytest a notebook: the first failure ends that notebook, the others are still looked at.
$(BOOKS):
	$(OFFLINE) $(BIN)/python -m pytest --nbval $(NBVAL) $@

# Another model gives other pictures than the stored ones: only errors and the notebooks' own assertions count. A published one
# takes its time. PAIDIFF_MODEL: a name, or the whole path of a folder, such as a skeleton's.
test-gpu: $(READY)
	@test -n "$(PAIDIFF_MODEL)" || { echo "PAIDIFF_MODEL=artist-large make test-gpu"; exit 2; }
	@fail=0; for book in notebooks/*.ipynb; do \
	  PAIDIFF_MODEL=$(PAIDIFF_MODEL) $(BIN)/python -m pytest --nbval-lax $(NBVAL) --nbval-cell-timeout=1800 $$book || fail=1; done; exit $$fail

# Every lesson on every layout that the published models' files may mean, with their own words: cn-clip brings BERT's table.
test-lessons-on-layouts: export OMP_NUM_THREADS = 1
test-lessons-on-layouts: $(READY)
	$(BIN)/python -m pip install -q --no-deps cn-clip==1.6.0
	PAIDIFF_LAYOUTS="pndm,ddim,77 tokens,taiyi" $(OFFLINE) $(BIN)/python -m pytest tests/test_lessons_on_skeleton.py -n 2

# Every method's results opened by older libraries: diffusers 0.31 with transformers 4.46, and what can be by 0.21 with 4.34. Their
# environments are made below build/layouts: the only target after the install that needs a network, once.
test-layouts: $(READY) test-lessons-on-layouts
	$(OFFLINE) $(BIN)/python tools/test_layouts.py

lab: $(READY)
	$(BIN)/jupyter lab notebooks

bench: $(READY)
	$(OFFLINE) $(BIN)/python benchmarks/run.py

# docs/diagrams/, in both languages, from lessons/diagrams.
diagrams: export OMP_NUM_THREADS = 1
diagrams: $(READY)
	$(OFFLINE) $(BIN)/python tools/draw_diagrams.py

# dist/: paidiff, all four packages, and paidiff-mini-zh, the small model and the lessons' sets.
wheels: $(READY)
	$(BIN)/python tools/build_wheels.py

# dist/paidiff-course/: the workshop's folder for a USB stick, with every library in it. Needs the network.
bundle: $(READY)
	$(BIN)/python tools/make_bundle.py $(PLATFORMS)

# build/answers-{zh,en}/: the lessons with the exercises' solutions folded, and a key. Not for students.
answers: $(READY)
	$(OFFLINE) $(BIN)/python tools/build_answers.py

# dist/book/: the lessons as a site in two languages and as PDFs, made of the stored outputs. The first time installs Sphinx.
book: $(VENV)/.book
	$(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python tools/build_book.py

$(VENV)/.book: $(READY)
	$(BIN)/python -m pip install -c constraints.txt -e ".[book]"
	@touch $@

# Both in an empty environment outside this folder, offline; two minutes.
test-wheels: wheels
	$(OFFLINE) $(BIN)/python tools/test_wheels.py
# The API reference, from the docstrings.
api: $(READY)
	$(OFFLINE) $(BIN)/python -m pdoc -o build/api paidiff_lib paidiff_app paidiff_world paidiff_course $(API)

# torch first and pinned, so that pip settles it before anything else asks for it.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt "$$(grep ^torch== constraints.txt)"
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	@touch $@
