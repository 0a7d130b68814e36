# jrl: build, test, install. `make` needs a C compiler, pkg-config and the libraries in README.md.
# Yours to set: CC CFLAGS LDFLAGS NVCC (empty: no GPUs) PREFIX DESTDIR DEPS BUILD DEV
#   DEPS=DIR    libraries under DIR/lib/pkgconfig (clusters without root)
#   BUILD=asan  address and undefined-behaviour sanitizers, in its own folder
#   BUILD=fuzz  what tests/fuzz/run.sh needs, with CC=clang
#   BUILD=tiles AMX's tile instructions in AVX-512 (tests/tiles), for processors without
#   DEV=1       our warnings are errors
#   PEERS=OPTIONS  of tests/bench/peers.py, for bench-peers; PEERS_FOLDER=DIR keeps what it fetches (~/.cache/jrl-peers, 7 GB)
#   ROWS=NAMES     of tests/bench/bench_gpu.c, for bench-gpu: all
#   LIMIT=SECONDS  that sanitize-gpu may take: 600
#   BUNDLE=DIR     where bundle puts it: build/bundle

# As many jobs as there are processors, or make -jN. Several goals one after the other: make clean all, make check bench.
ifeq ($(filter -j%,$(MAKEFLAGS))$(word 2,$(MAKECMDGOALS)),)
MAKEFLAGS += -j$(shell n=$$(nproc 2> /dev/null || echo 1); echo $$((n < 16 ? n : 16)))
endif

CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
BUILD ?= release
out := build/$(BUILD)

PKG_CONFIG ?= pkg-config
pkg_config := $(PKG_CONFIG)
ifneq ($(DEPS),)
export PKG_CONFIG_PATH := $(DEPS)/lib/pkgconfig:$(DEPS)/lib64/pkgconfig:$(DEPS)/share/pkgconfig:$(PKG_CONFIG_PATH)
# make before 4.4 exports to recipes, but not to $(shell)
pkg_config := PKG_CONFIG_PATH='$(PKG_CONFIG_PATH)' $(PKG_CONFIG)
endif
test_libraries := cmocka

goals := $(or $(MAKECMDGOALS),all)
ifneq ($(filter-out deps clean,$(goals)),)
# The jobs for newcomers install what is missing; where that fails, what is really needed is named below.
ifneq ($(filter demo check check-slow lint,$(goals)),)
installed := $(shell tests/deps.sh $(if $(filter check-slow,$(goals)),--slow) >&2)
endif
# msgpack-c calls itself so since its version 6. Looked for when what is missing has been installed.
msgpack := $(firstword $(foreach l,msgpack-c msgpack,$(shell $(pkg_config) --exists $l && echo $l)) msgpack)
libraries := $(msgpack) libzstd jansson libpcre2-8 libutf8proc libxxhash mpfr gmp
pkg_missing := $(strip $(shell for l in $(libraries); do $(pkg_config) --exists $$l || echo $$l; done))
ifneq ($(pkg_missing),)
$(error $(shell tests/deps.sh --explain $(pkg_missing)))
endif
pkg_cflags := $(shell $(pkg_config) --cflags $(libraries))
pkg_libs := $(shell $(pkg_config) --libs $(libraries))
test_libs = $(shell $(pkg_config) --libs $(test_libraries))
ifneq ($(DEPS),)
pkg_libs += -Wl,-rpath,$(DEPS)/lib
endif
endif

warnings := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wpointer-arith -Wvla -Wformat=2 -Wno-format-nonliteral
jrl_cflags := -std=gnu11 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -pthread -I. -Ilibcommon -I$(out) $(warnings) $(pkg_cflags)
jrl_ldflags := -pthread
jrl_libs := $(pkg_libs) -lm -ldl
ifeq ($(BUILD),asan)
jrl_cflags += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
jrl_ldflags += -fsanitize=address,undefined
endif
ifeq ($(BUILD),fuzz)
jrl_cflags += -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif
ifeq ($(BUILD),tiles)
jrl_cflags += -DJRL_EMULATED_TILES
tiles_cflags := -include tests/tiles/emulated_tiles.h
endif
ifneq ($(DEV),)
jrl_cflags += -Werror
endif

machine := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
tool_sources := $(sort $(wildcard tools/*.c))
lib_sources := $(sort $(wildcard libcommon/*/*.c kernels/*.c) $(filter-out %_amx.c %_avx512bf16.c %_avx512.c %_avx2.c,$(wildcard kernels/cpu/*.c)))
ifeq ($(machine),x86_64)
lib_sources += $(sort $(wildcard kernels/cpu/*_amx.c kernels/cpu/*_avx512bf16.c kernels/cpu/*_avx512.c kernels/cpu/*_avx2.c))
endif
ifeq ($(BUILD),fuzz)
lib_sources := $(sort $(wildcard $(patsubst %,libcommon/%/*.c,base stream answer text)))
endif
unit_sources := $(sort $(wildcard tests/unit/*.c tests/kernels/*.c))

tools := $(patsubst tools/%.c,$(out)/bin/%,$(tool_sources))
lib_objects := $(lib_sources:%.c=$(out)/%.o)
units := $(unit_sources:%.c=$(out)/%)

# The CUDA plug-in, where nvcc is. Its kernels also run in the emulator of tests/emulator, compiled by g++.
NVCC ?= $(or $(shell command -v nvcc),$(wildcard /usr/local/cuda/bin/nvcc))
cuda_sources := $(sort $(wildcard kernels/cuda/*.cu))
plugin := lib/jrl/libjrl-cuda.so
cuda_flags := -std=c++17 -D_GNU_SOURCE -I. -Ilibcommon
nvcc_flags := $(cuda_flags) -O3 -ftz=true -prec-div=true -prec-sqrt=true -fmad=false -Xcompiler -fPIC,-fvisibility=hidden,-ffp-contract=off,-Wall \
    -gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_90a,code=sm_90a -gencode=arch=compute_90,code=compute_90
ifeq ($(machine),x86_64)
emulated := $(out)/tests/$(plugin) $(out)/tests/emulated/$(plugin)
emulated += $(patsubst %/$(notdir $(plugin)),%/libcublasLt-emulated.so,$(emulated)) # of cuBLASLt
units += $(out)/tests/cuda/test_kernels $(out)/tests/cuda/planted $(out)/tests/bench/bench_gpu
endif
benches := $(patsubst %.c,$(out)/%,$(filter-out %/bench_gpu.c,$(sort $(wildcard tests/bench/*.c))))
library := $(out)/libjrl.a
faults := $(out)/tests/faults.so

.PHONY: all deps reference check check-gpu check-slow sanitize-gpu lint bench bench-gpu bench-peers demo install bundle clean units FORCE
.SECONDARY:
all: $(tools) $(if $(NVCC),$(out)/$(plugin))

$(out)/bin/%: $(out)/tools/%.o $(library)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(jrl_ldflags) -o $@ $< $(library) $(jrl_libs) $(LDLIBS)

$(library): $(lib_objects)
	@rm -f $@
	$(AR) rcs $@ $^

units: $(units) $(faults) $(emulated)
# Preloaded by tests that kill a process tree at a chosen call; never sanitized.
$(faults): tests/faults.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -std=gnu11 -fPIC $(warnings) $(if $(DEV),-Werror) -shared -o $@ $< -ldl

$(out)/tests/%: $(out)/tests/%.o $(library)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(jrl_ldflags) -o $@ $< $(library) $(test_libs) $(jrl_libs) $(LDLIBS)

$(out)/$(plugin): $(cuda_sources:%.cu=$(out)/%.cuda.o)
	@mkdir -p $(@D)
	$(NVCC) -shared -cudart static -Xcompiler -static-libstdc++,-static-libgcc -Xlinker --exclude-libs,ALL -o $@ $^

$(out)/%.cuda.o: %.cu $(out)/flags
	@mkdir -p $(@D)
	$(NVCC) $(nvcc_flags) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

# The emulated plug-in: for the tests of kernels always with sanitizers, for the tests of programs as the programs are.
emulator_flags := $(cuda_flags) -Itests/emulator -O1 -g -mfma -ffp-contract=off -fno-math-errno -fPIC -fvisibility=hidden -Wall -Wextra \
    -Wno-unknown-pragmas $(if $(DEV),-Werror)
emulator := device memory stream launch fibres copies # of tests/emulator; its other .cpp is a library of its own
sanitizers := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
emulated_objects = $(cuda_sources:%.cu=$(out)/$(1)/%.o) $(emulator:%=$(out)/$(1)/%.o)
$(out)/tests/$(plugin): $(call emulated_objects,checked)
	@mkdir -p $(@D)
	$(CXX) $(sanitizers) -shared -o $@ $^
$(out)/tests/emulated/$(plugin): $(call emulated_objects,plain)
	@mkdir -p $(@D)
	$(CXX) $(if $(filter asan,$(BUILD)),$(sanitizers)) -shared -o $@ $^
# The twins of libraries lie beside the plug-in, which opens them; they call the emulator in it.
$(out)/tests/lib/jrl/lib%-emulated.so: $(out)/checked/lib%.o $(out)/tests/$(plugin)
	$(CXX) $(sanitizers) -shared -Wl,-rpath,'$$ORIGIN' -o $@ $< -L$(@D) -l:$(notdir $(plugin))
$(out)/tests/emulated/lib/jrl/lib%-emulated.so: $(out)/plain/lib%.o $(out)/tests/emulated/$(plugin)
	$(CXX) $(if $(filter asan,$(BUILD)),$(sanitizers)) -shared -Wl,-rpath,'$$ORIGIN' -o $@ $< -L$(@D) -l:$(notdir $(plugin))
$(out)/checked/%: private emulator_flags += $(sanitizers)
$(out)/plain/%: private emulator_flags += $(if $(filter asan,$(BUILD)),$(sanitizers),-O2)
define emulated_rules
$(out)/$(1)/%.o: %.cu $(out)/flags
	@mkdir -p $$(@D)
	$(CXX) $$(emulator_flags) -MMD -MP -x c++ -c -o $$@ $$<
$(out)/$(1)/%.o: tests/emulator/%.cpp $(out)/flags
	@mkdir -p $$(@D)
	$(CXX) $$(emulator_flags) -MMD -MP -c -o $$@ $$<
endef
$(eval $(call emulated_rules,checked))
$(eval $(call emulated_rules,plain))

$(out)/tests/cuda/planted: tests/cuda/planted.cpp $(emulator:%=$(out)/checked/%.o)
	@mkdir -p $(@D)
	$(CXX) $(emulator_flags) $(sanitizers) -MMD -MP -MF $@.d -o $@ $(filter %.cpp %.o,$^)

$(out)/tests/cuda/%.o: private jrl_cflags += -I$(out)/tests/cuda
$(out)/tests/cuda/test_kernels.o: $(out)/tests/cuda/kernel_names.h
table_objects := $(patsubst %.c,$(out)/%.o,$(sort $(wildcard tests/cuda/*.c)))
$(out)/tests/cuda/test_kernels: $(table_objects) $(library)
	$(CC) $(LDFLAGS) $(jrl_ldflags) $(sanitizers) -rdynamic -o $@ $^ $(test_libs) $(jrl_libs) $(LDLIBS)
# Without sanitizers: NVIDIA's driver wants the addresses where AddressSanitizer keeps its shadow, and finds no GPU.
$(out)/tests/gpu/cuda/test_kernels: $(table_objects) $(library)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(jrl_ldflags) -rdynamic -o $@ $^ $(test_libs) $(jrl_libs) $(LDLIBS)
$(out)/tests/cuda/kernel_names.h: $(cuda_sources)
	@mkdir -p $(@D)
	@perl -ne '$$hopper{$$ARGV} = 1 if /#include ".*wgmma\.cuh"/; $$n{$$1} = $$hopper{$$ARGV} || 0 if /__global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\(/;' \
	    -e 'END { print "static const struct { const char *name; bool hopper; } kernels[] = {\n", map("    { \"$$_\", $$n{$$_} },\n", sort keys %n), "};\n" }' $^ > $@

$(out)/fuzz_%: $(out)/tests/fuzz/fuzz_%.o $(library)
	$(CC) $(LDFLAGS) $(jrl_ldflags) -fsanitize=fuzzer,address,undefined -o $@ $< $(library) $(jrl_libs) $(LDLIBS)

# Kernels for one instruction set are files of their own, compiled for it and called after a run-time check.
$(out)/kernels/%.o: private jrl_cflags += -O3
avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mprefer-vector-width=512
$(out)/kernels/cpu/%_avx2.o: private jrl_cflags += -mavx2 -mfma -mf16c
$(out)/kernels/cpu/%_avx512.o: private jrl_cflags += $(avx512)
$(out)/kernels/cpu/%_avx512bf16.o: private jrl_cflags += $(avx512) -mavx512bf16
$(out)/kernels/cpu/%_amx.o: private jrl_cflags += $(avx512) -mavx512bf16 -mamx-tile -mamx-bf16 $(tiles_cflags)

$(out)/%.o: %.c $(out)/flags | $(out)/version.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(jrl_cflags) -MMD -MP -c -o $@ $<

# Rebuild when the flags or the version change, and only then.
$(out)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CPPFLAGS) $(CFLAGS) $(jrl_cflags) $(LDFLAGS) $(jrl_ldflags)' | cmp -s - $@ || echo '$(CC) $(CPPFLAGS) $(CFLAGS) $(jrl_cflags) $(LDFLAGS) $(jrl_ldflags)' > $@
$(out)/version.h: FORCE
	@mkdir -p $(@D)
	@tests/version.sh '$(CC)' '$(CFLAGS)' $(libraries) | cmp -s - $@ || tests/version.sh '$(CC)' '$(CFLAGS)' $(libraries) > $@
FORCE:

deps:
	tests/deps.sh

check: all units
	tests/run.pl --build $(out)

# What some tests compare with, from PyPI; they are skipped without it.
reference:
	tests/reference/get.sh

# The kernel table and training runs on a GPU of this machine; says that it was skipped where there is none. Programs of the build
# folder's tests are beside the emulated plug-in, these beside the real one.
native := $(out)/tests/gpu
$(native)/$(plugin): $(out)/$(plugin)
	@mkdir -p $(@D)
	@cp $< $@
$(native)/bench/bench_gpu: $(out)/tests/bench/bench_gpu
	@mkdir -p $(@D)
	@cp $< $@
check-gpu: $(if $(NVCC),$(tools) $(native)/cuda/test_kernels $(native)/$(plugin))
	@tests/check-gpu.sh $(native)/cuda/test_kernels $(out)
sanitize-gpu: $(if $(NVCC),$(native)/cuda/test_kernels $(native)/$(plugin))
	@tests/gpu-sanitizer.sh $(native)/cuda/test_kernels $(LIMIT)

# What a training step's work takes on a GPU of this machine, and in torch where that is there: two minutes, or
# ROWS='decode update'. Says that it was skipped where there is no GPU.
bench-gpu: $(if $(NVCC),$(native)/bench/bench_gpu $(native)/$(plugin))
	@tests/bench/gpu.sh $(native)/bench/bench_gpu $(ROWS)

lint: all
	tests/lint.sh $(out)

demo: all
	pipelines/demo --out build/demo

check-slow: all units
	tests/run.pl --build $(out) -j 1 --comments tests/slow/*.sh

bench: all $(benches)
	@for b in $(benches); do "$$b" || exit 1; done

# Beside llama.cpp, Transformers and torch, fetched and compiled into a folder of the user: this machine's part of the section 'Peers'
# of performance.md. PEERS='--short' does little of each and only prints; the other options are those of tests/bench/peers.py.
peers := $(or $(PEERS_FOLDER),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/jrl-peers)
bench-peers: all $(addprefix $(out)/tests/bench/,bench_sampling bench_train bench_update)
	tests/bench/get-peers.sh '$(peers)'
	'$(peers)/python' tests/bench/peers.py --build $(out) --peers '$(peers)' $(or $(PEERS),--keep tests/bench/performance.md)

install: all
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/man/man1' '$(DESTDIR)$(PREFIX)/share/man/man5' '$(DESTDIR)$(PREFIX)/share/man/man7' '$(DESTDIR)$(PREFIX)/share/jrl/pipelines'
	install -m 755 $(tools) '$(DESTDIR)$(PREFIX)/bin'
	for s in 1 5 7; do for f in man/*.$$s; do [ ! -e "$$f" ] || install -m 644 "$$f" '$(DESTDIR)$(PREFIX)/share/man/man'$$s || exit 1; done; done
	cp -R pipelines/. '$(DESTDIR)$(PREFIX)/share/jrl/pipelines'
	[ ! -e $(out)/$(plugin) ] || { install -d '$(DESTDIR)$(PREFIX)/lib/jrl' && install -m 644 $(out)/$(plugin) '$(DESTDIR)$(PREFIX)/lib/jrl'; }

# A folder for machines without network and compilers.
bundle: all $(if $(NVCC),$(native)/cuda/test_kernels $(native)/bench/bench_gpu $(native)/$(plugin))
	@tests/bundle.sh $(out) $(or $(BUNDLE),build/bundle)

clean:
	rm -rf build

-include $(shell find $(out) -name '*.d' 2>/dev/null)
