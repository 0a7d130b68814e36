# bench_gpu on an emulated GPU with a tiny shape: every row has a number, or says why it has none.
# shellcheck shell=bash disable=SC2016
. "$(dirname "$0")/tap.sh"
# shellcheck source=tests/gpu.sh
. "$JRL_TOP/tests/gpu.sh"

gpu="$JRL_TOP/tests/bench/gpu.sh"
ok 'without nvcc it is skipped' bash -c '"$0" no-such-program | grep -qx "bench-gpu: skipped: there is no nvcc"' "$gpu"
needs_plugin 'on an emulated GPU'
gpu_folder at tests/bench/bench_gpu
export JRL_EMULATOR_OPEN=1
shape=dim=64,layers=1,heads=1,kv-heads=1,mlp=64,positions=512,vocab=300
ok 'without a GPU it is skipped' bash -c 'JRL_EMULATOR_DEVICES=0 at/bin/bench_gpu | grep -qx "bench-gpu: skipped: computing on the CPU: no NVIDIA GPU"'
ok '... a driver that does not work is a failure' exits 1 env JRL_EMULATOR_DRIVER=broken at/bin/bench_gpu
ok 'a row that is none' exits 2 at/bin/bench_gpu encode

at/bin/bench_gpu --quick --shape "$shape" > table.md || exit 1
# has REGEX N: so many rows begin like this and have a time above 0
has() { [ "$(grep -Ec "^\| $1.* \| [0-9.]*[1-9][0-9.]* (ms|s) \|" table.md)" = "$2" ] || { cat table.md; return 1; }; }
ok 'what the GPU can do' has '(copy|product of bf16)' 2
ok 'the start' has 'start to first token' 1
ok 'decoding at five sizes' has 'decode, [0-9]+ x 70' 5
ok 'prompts' has 'prefill, [0-9]+' 2
ok 'updates of three lengths' has 'update, [0-9]+ x [0-9]+, computing nothing again' 3
ok 'steps of the recipe' has 'step of [0-9]+ responses, mean [0-9]+, longest 90: sampling' 2
ok 'five columns in every row' bash -c '! grep "^|" table.md | awk -F"|" "NF != 7" | grep .'
"$gpu" at/bin/bench_gpu --quick --shape "$shape" prefill > table.md || exit 1
ok 'one row by its name' bash -c 'grep -q "^| prefill" table.md && ! grep -Eq "^\| (decode|update|step|start)" table.md'
add_cublaslt at
ok 'with fast numerics' bash -c 'at/bin/bench_gpu --quick --fast --shape "$0" prefill | grep -q "^.bench_gpu., .*, cuda-fast"' "$shape"
done_testing
