# Every target installs what it needs into .venv by itself, once.

PY ?= python3
TORCH ?= torch==2.13.0
WERROR ?= OFF

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# By default, the versions of third_party/constraints.txt are installed, which are known to work.
# TRANSFORMERS=5.23.0 replaces the version of transformers. CONSTRAINTS= (empty) installs the newest
# versions that pyproject.toml allows.
TRANSFORMERS ?=
CONSTRAINTS := $(VENV)/constraints.txt
CONSTRAIN := $(CONSTRAINTS:%=--constraint %)
# The [build-system] requirements of pyproject.toml without torch. pip checks them against it below.
BUILD_REQUIRES := 'setuptools>=77' 'cmake>=3.25' 'ninja>=1.11' 'pybind11>=2.13,<4'
# An editable install, which names torch again so that no install fetches another torch than $(TORCH).
INSTALL := $(PIP) install $(CONSTRAIN) --no-build-isolation --check-build-dependencies $(TORCH) --editable

# Tests run in parallel, one process per core.
JOBS ?= $(shell nproc)
PYTEST := -m pytest --numprocesses $(JOBS) --dist worksteal

CPP_FILES := $(shell find csrc tests/cpp -name '*.h' -o -name '*.cpp')
BENCH := $(BIN)/python -m ascend_prefetch bench mla_prolog --dtype bf16

# Tests of the ops' results, which run a second time with the twin's sanitizer.
SANITIZED := $(patsubst %,tests/python/test_%.py,mla_prolog sfa_prolog o_proj w8a8 w8a8_prolog prolog_caches prefetch)

# Tests that a new release of another project may break. `make test-latest` runs them with the newest
# releases.
INTEGRATION := $(patsubst %,tests/python/test_%*.py,transformers vllm policy example mla_prolog_transformers models checkpoint reference)
LATEST := .venv-latest

# Tests of bad input, which run a second time with the compiler's sanitizers.
BORDERS := $(patsubst %,tests/python/test_%.py,mla_prolog_errors sfa_prolog_errors o_proj_errors prefetch_errors w8a8_errors checkpoint_borders op_memory op_refusals)
ASAN := build-asan
AARCH64 := build-aarch64

# One environment for the tests of the vLLM plugin, and in it the releases of vLLM Ascend, each with the
# vLLM that it is made for.
VLLM := .venv-vllm
# The whole suite runs on the newest and on two that many servers still run; `make test-vllm-all` runs
# it on all. The configuration is tested on all.
VLLM_VERSIONS := 0.30.0rc2 0.26.0rc1 0.23.0
VLLM_CONFIGURED := 0.18.0 0.23.0 0.23.0.post1 0.26.0rc1 0.27.1rc1 0.28.0rc1 0.29.0rc1 0.30.0rc2
VLLM_INSTALLED := $(VLLM_CONFIGURED:%=$(VLLM)/releases/%/.installed)

# Where `make wheel` installs sdist and wheel, and the command that it runs there.
WHEEL := build-wheel
SMALL_BENCH := venv/bin/python -m ascend_prefetch bench o_proj --model deepseek-v2-lite --tp 8 --tokens 1

# The release of torch_npu that `make npu-check` compiles the NPU backend against.
NPU_NEWEST := 2.13.0
NPU ?= $(NPU_NEWEST)
NPU_DIR := $(abspath .npu)
NPU_TORCH = $(if $(filter $(NPU_NEWEST),$(NPU)),$(abspath $(shell echo $(VENV)/lib/python3*/site-packages/torch)),$(NPU_DIR)/$(NPU)/torch)

override export CMAKE_ARGS := -DASCEND_PREFETCH_WERROR=$(WERROR) $(CMAKE_ARGS)

.PHONY: build run bench floors docs-results test test-asan test-vllm test-aarch64 npu-check lint format clean distclean extension

build: extension
	$(BIN)/cmake --build build

run: extension
	$(BIN)/python -m ascend_prefetch demo --model deepseek-v3 --tp 16 --batch 16 --out build/demo.json

bench: extension
	$(BENCH) --model deepseek-v3 --tp 1 --tokens 16
	$(BENCH) --model deepseek-v3 --tp 1 --tokens 16 --weights nz
	$(BENCH) --model deepseek-v3 --tp 16 --tokens 1
	$(BENCH) --model kimi-k2 --tp 1 --tokens 16

# Measures the host time of a call of each op, up to the launch.
.PHONY: bench-host
bench-host: build
	$(BIN)/python tests/python/host_speed.py

# Fuzzes every op with thousands of random calls, for hours: see tests/python/fuzz.py.
.PHONY: fuzz
fuzz: build
	$(BIN)/python tests/python/fuzz.py $(FUZZ)

# How far the fused kernels are from their floor, modelled with the constants of today and of before.
floors: extension
	$(BIN)/python -m ascend_prefetch floors --tokens 1,4,16,64,128,1024 --soc Ascend910_9391,examples/published_constants.json

# Regenerates the page of modelled results and the tables that it summarises: on two cores the sweep
# takes about 12 minutes, the served layers about 10.
docs-results: $(VENV)/.installed-test extension
	$(BIN)/python -m ascend_prefetch sweep --out docs/sweep.csv --plot docs/sweep.png
	$(BIN)/python -m ascend_prefetch sweep --served --out docs/served.csv --plot docs/served.png
	$(BIN)/python -m ascend_prefetch results --out docs/results.md --sweep docs/sweep.csv --served docs/served.csv

test: lint build
	$(BIN)/python $(PYTEST)
	ASCEND_PREFETCH_SANITIZE=full $(BIN)/python $(PYTEST) -m 'not large' $(SANITIZED)

# Every family of transformers' models at the full width of its attention, one layer each.
.PHONY: test-full-width
test-full-width: build
	ASCEND_PREFETCH_FULL_WIDTH=1 $(BIN)/python -m pytest -p no:xdist -s tests/python/test_transformers_families.py

# Mutation testing: makes random mistakes in kernels and planners, which the tests of each op have to
# find. Takes one or two hours. Finished mutants are kept, and the next call continues (tests/mutants).
MUTANTS := build-mutants
.PHONY: mutants
mutants: $(VENV)/.installed-mutants build
	$(BIN)/python tests/mutants --folder $(MUTANTS)

# Tests the host code with the compiler's address and undefined-behaviour sanitizers: first all C++
# tests, then, with the modules in a copy of the package, the tests that give ops and readers bad input.
test-asan: $(VENV)/.installed-test
	$(BIN)/cmake -S . -B $(ASAN) -G Ninja -DPython_EXECUTABLE=$(abspath $(BIN))/python \
		-DASCEND_PREFETCH_SANITIZE=ON -DASCEND_PREFETCH_WERROR=$(WERROR) -DCMAKE_CXX_FLAGS_RELEASE=-O1
	$(BIN)/cmake --build $(ASAN)
	ASCEND_PREFETCH_BUILD_DIR=$(ASAN) $(BIN)/python $(PYTEST) tests/python/test_cpp.py tests/python/test_kernel_sizes.py
	rm -rf $(ASAN)/package
	cp -r python $(ASAN)/package
	cp $(ASAN)/csrc/python/_C*.so $(ASAN)/csrc/lab/_lab*.so $(ASAN)/package/ascend_prefetch/
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
		ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$(ASAN)/package $(BIN)/python $(PYTEST) $(BORDERS)

# Runs the kernels with millions of plans, without data: see docs/plan-walk.md. Takes 12 minutes on two
# cores.
PRODUCTS := 5000000
SEED := 1
.PHONY: plan-walk
plan-walk: build
	$(BIN)/python tests/python/plan_walk.py --products $(PRODUCTS) --jobs $(JOBS) --seed $(SEED)

# Tests the plugin in the real vLLM Ascend, which runs on a CPU with a double of torch_npu: see
# tests/vllm.
test-vllm: extension $(VLLM_INSTALLED)
	$(VLLM)/bin/python tests/vllm/run.py $(VLLM_VERSIONS) --configuration $(VLLM_CONFIGURED)

# The same with the whole suite on all releases.
.PHONY: test-vllm-all
test-vllm-all:
	$(MAKE) test-vllm VLLM_VERSIONS='$(VLLM_CONFIGURED)'

# Runs the serve commands of upstream's tutorials with real attention layers of their releases, and
# prints which of them are fused, and why the others are not: see tests/vllm/launches.
LAUNCHES := 0.18.0 0.23.0 0.30.0rc2
.PHONY: launches
launches: extension $(LAUNCHES:%=$(VLLM)/releases/%/.installed)
	$(VLLM)/bin/python tests/vllm/launches/table.py $(LAUNCHES)

# Runs the same tests, and those of transformers, with the newest versions that pyproject.toml and
# tests/vllm/requirements.txt allow instead of the constraints. This builds the module with the newest
# tools, so the next other target builds it again.
.PHONY: test-latest test-integration
test-latest:
	rm -rf $(LATEST) $(LATEST)-vllm
	$(MAKE) VENV=$(LATEST) VLLM=$(LATEST)-vllm CONSTRAINTS= test-integration

test-integration: $(VENV)/.installed-test extension
	$(BIN)/python -m pip list
	$(BIN)/python $(PYTEST) $(wildcard $(INTEGRATION))
	$(MAKE) test-vllm

# Builds sdist and wheel into dist/. Each is then installed into an environment with torch only: the
# wheel with the modules of the build tree, the sdist by compiling it, without optimisation to save
# time. The sdist is unpacked into a folder without the version in its name, because pip keeps the
# wheels of others for ever.
.PHONY: wheel
wheel: $(VENV)/.installed-test extension
	rm -rf dist $(WHEEL) build/lib.* build/bdist.* python/ascend_prefetch.egg-info
	$(BIN)/python -c 'from setuptools import build_meta; build_meta.build_sdist("dist")'
	$(PIP) wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .
	$(BIN)/python tests/packaging/check_archives.py dist
	$(PY) -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/python -m pip install --quiet $(TORCH)
	$(WHEEL)/venv/bin/python -m pip install --quiet --no-deps dist/*.whl
	cd $(WHEEL) && venv/bin/python -m ascend_prefetch info && $(SMALL_BENCH)
	$(WHEEL)/venv/bin/python -m pip uninstall --quiet --yes ascend-prefetch
	mkdir $(WHEEL)/sdist
	tar -xf dist/*.tar.gz --strip-components=1 -C $(WHEEL)/sdist
	cd $(WHEEL)/sdist && CMAKE_ARGS=-DCMAKE_CXX_FLAGS_RELEASE=-O0 ../venv/bin/python -m pip install .
	cd $(WHEEL) && $(SMALL_BENCH)

# Builds the documentation into build/docs. This runs the code that its pages show, and the commands
# whose output they show.
.PHONY: docs
docs: $(VENV)/.installed-docs extension
	$(BIN)/python -m sphinx -q -W --keep-going -E -b html docs build/docs
	@echo build/docs/index.html

# Regenerates the picture on the first page.
.PHONY: docs-timeline
docs-timeline: $(VENV)/.installed-test extension
	$(BIN)/python -m ascend_prefetch timeline mla_prolog --model deepseek-v3 --tp 16 --out docs/timeline.png

# Regenerates the stubs of the modules and of the ops, which tests compare with both.
.PHONY: stubs
stubs: $(VENV)/.installed-test extension
	$(BIN)/python -m pybind11_stubgen ascend_prefetch._C --output-dir python --exit-code
	$(BIN)/python -m pybind11_stubgen ascend_prefetch._lab --output-dir python --exit-code
	$(BIN)/python tests/python/op_stubs.py

# Builds all that does not need torch for 64-bit Arm, and runs its C++ tests under qemu. -O1 halves the
# time to compile.
test-aarch64: $(VENV)/.installed
	$(BIN)/cmake -S . -B $(AARCH64) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
		-DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake -DASCEND_PREFETCH_BUILD_TORCH=OFF \
		-DASCEND_PREFETCH_DEVICE=OFF -DASCEND_PREFETCH_WERROR=$(WERROR) -DCMAKE_CXX_FLAGS_RELEASE=-O1
	$(BIN)/cmake --build $(AARCH64) --target check_cpp

# Runs the op tests on CANN's CPU-debug library, if the build has found a toolkit.
.PHONY: test-cpu-debug
test-cpu-debug: $(VENV)/.installed-test build
	$(BIN)/cmake --build build --target ascend_prefetch_cpu_debug
	ASCEND_PREFETCH_CPU_DEBUG=build/csrc/lab/cpu_debug/libascend_prefetch_cpu_debug.so \
		$(BIN)/python -m pytest -m 'not twin and not large' $(SANITIZED)

# Compiles the NPU backend against torch_npu's wheel, which is unpacked and never imported. NPU=2.9.0 and
# NPU=2.10.0 also fetch the torch of that release. ACL's headers come from the newest wheel, because
# older wheels hold only some of them.
npu-check: $(NPU_DIR)/.installed-$(NPU) $(NPU_DIR)/.installed-$(NPU_NEWEST)
	$(BIN)/cmake -S tests/npu_check -B build-npu/$(NPU) -G Ninja \
		-DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DTORCH=$(NPU_TORCH) \
		-DTORCH_NPU=$(NPU_DIR)/$(NPU)/torch_npu \
		-DACL_INCLUDE=$(NPU_DIR)/$(NPU_NEWEST)/torch_npu/include/third_party/acl/inc
	$(BIN)/cmake --build build-npu/$(NPU)
	$(BIN)/python tests/npu_check/unresolved.py build-npu/$(NPU)/npu/_C_npu.so \
		$(NPU_DIR)/$(NPU)/torch_npu/lib/libtorch_npu.so $(NPU_TORCH)/lib/libtorch_cpu.so $(NPU_TORCH)/lib/libc10.so

$(NPU_DIR)/.installed-%: $(VENV)/.installed
	$(PIP) install --quiet --no-deps --target $(NPU_DIR)/$* torch_npu==$*
	$(if $(filter $(NPU_NEWEST),$*),,$(PIP) install --quiet --no-deps --target $(NPU_DIR)/$* torch==$*)
	touch $@

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell cmake csrc docs examples python tests third_party *.md *.toml Makefile
	$(BIN)/clang-format --dry-run -Werror $(CPP_FILES)

# Runs clang-tidy on the files that the build tree compiles. TIDY names the folders; all of csrc takes
# minutes, since ops and python include torch.
TIDY := arch plan model twin kernels ops python npu lab
.PHONY: tidy
tidy: $(VENV)/.installed-test extension
	$(BIN)/python $(BIN)/run-clang-tidy.py -clang-tidy-binary $(BIN)/clang-tidy -p build -quiet \
		$(TIDY:%='/csrc/%/.*\.cpp$$')

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP_FILES)

clean:
	rm -rf build build-npu $(MUTANTS) $(ASAN) $(AARCH64) $(WHEEL) dist python/*.egg-info \
		python/ascend_prefetch/_C*.so python/ascend_prefetch/_lab*.so python/ascend_prefetch/kernels \
		python/ascend_prefetch/lab/kernels

distclean: clean
	rm -rf $(VENV) $(VLLM) $(LATEST) $(LATEST)-vllm $(NPU_DIR)

# Builds only the Python modules, into python/ascend_prefetch.
extension: $(VENV)/.installed
	$(BIN)/python setup.py --quiet build_ext --inplace

# The file is replaced, so that everything is installed again, only if a version in it has changed.
$(VENV)/constraints.txt: FORCE
	@mkdir -p $(@D)
	@sed -e '/^#/d' $(TRANSFORMERS:%=-e 's/^transformers==[^ ]*/transformers==%/') third_party/constraints.txt >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

.PHONY: FORCE
FORCE:

# Regenerates third_party/constraints.txt: the newest versions that are compatible, for all versions of
# Python (uv resolves for all, pip only for its own). torch, and CUDA's packages, which torch pins, are
# left out: TORCH decides on them.
.PHONY: constraints
constraints: $(VENV)/.installed-test
	sed -n '/^#/p' third_party/constraints.txt >$(VENV)/constraints.new
	printf '%s\n' $(TORCH) $(BUILD_REQUIRES) | UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip compile --quiet \
		--universal --python-version 3.10 --no-header --no-annotate --no-emit-package torch \
		--extra test --extra lint --extra docs --extra mutants pyproject.toml tests/vllm/requirements.txt - \
		>$(VENV)/constraints.all
	grep -Ev '^(triton|cuda-|nvidia-)' $(VENV)/constraints.all >>$(VENV)/constraints.new
	mv $(VENV)/constraints.new third_party/constraints.txt

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	$(PY) -c 'import sys; sys.exit("make PY=...: Python >= 3.10 is needed" if sys.version_info < (3, 10) else 0)'
	$(PY) -m venv $(VENV)
	$(PIP) install $(CONSTRAIN) $(TORCH)
	$(PIP) install $(CONSTRAIN) $(BUILD_REQUIRES)
	$(INSTALL) '.[checkpoint]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed-test
	$(INSTALL) '.[docs]'
	touch $@

$(VENV)/.installed-mutants: $(VENV)/.installed-test
	$(INSTALL) '.[mutants]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(INSTALL) '.[test,lint]'
	touch $@

# This environment also sees the packages of $(VENV), torch above all, and adds those that upstream's
# modules import.
$(VLLM)/.installed: $(VENV)/.installed-test tests/vllm/requirements.txt
	$(BIN)/python -c 'import sys; sys.exit("make PY=...: vllm-ascend is for Python 3.10 to 3.12, not %d.%d" % sys.version_info[:2] if not (3, 10) <= sys.version_info < (3, 13) else 0)'
	$(BIN)/python -m venv --without-pip $(VLLM)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		>"$$($(VLLM)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
	$(PIP) --python $(VLLM)/bin/python install $(CONSTRAIN) --quiet --no-deps -r tests/vllm/requirements.txt
	touch $@

# Installs only the Python files of the source archives, 0.4 GB. pip's cache is not used, because it
# would keep the wheels made here as if they were complete.
$(VLLM)/releases/%/.installed: | $(VLLM)/.installed
	rm -rf $(@D)
	PYTHONPATH=$(abspath tests/vllm/python_only) $(PIP) install --quiet --no-deps --no-compile --no-cache-dir --no-binary :all: \
		--no-build-isolation --use-pep517 --target $(@D) \
		vllm-ascend==$* vllm==$(firstword $(subst .post, ,$(subst rc, ,$*)))
	touch $@
