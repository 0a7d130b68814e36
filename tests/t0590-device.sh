# --device: programs with a plug-in whose GPU is emulated (tests/emulator), and what they say where there is none.
# shellcheck shell=bash disable=SC2016
. "$(dirname "$0")/tap.sh"
# shellcheck source=tests/gpu.sh
. "$JRL_TOP/tests/gpu.sh"

sampling=(--max-tokens 12 --samples 2 --entropies)
for i in 0 1 2 3; do
    echo "{\"uid\":$i,\"prompt\":\"$(head -c $((i * i * 7 + 1)) /dev/zero | tr '\0' 'x')\"}"
done | jrl-pack -o problems.jrl
jrl-model make -q -o policy --dtype f32 --shape dim=128,layers=2,heads=2,kv-heads=1,mlp=96,positions=512 || exit 1
records() { jrl-view "$1" | jq -c 'del(.policy)'; }

# Without a plug-in: a folder with the programs alone.
mkdir -p alone/bin
cp "$JRL_BUILD"/bin/jrl-{sample,logprob,update} alone/bin
sample_alone() { alone/bin/jrl-sample --policy policy --max-tokens 3 "$@" problems.jrl; }
ok 'no plug-in' fails_with 1 "no device 'cuda:0': this build has no libjrl-cuda.so" sample_alone --device cuda
says() { sample_alone "${@:2}" 2>&1 > /dev/null | grep -q "$1"; }
says_nothing() { [ -z "$(sample_alone 2>&1 > /dev/null)" ]; }
ok '... auto takes the CPU and says so at -v' says 'info: computing on the CPU: this build has no' -v
ok '... and nothing without -v' says_nothing
ok 'a device that is none' fails_with 2 "unknown device 'gpu'" sample_alone --device gpu
ok 'a number that is none' fails_with 2 "unknown device 'cuda:1x'" sample_alone --device cuda:1x
mkdir -p alone/lib/jrl
echo 'not a library' > alone/lib/jrl/libjrl-cuda.so
ok 'a damaged plug-in' fails_with 1 'cannot load the plug-in' sample_alone --device cuda
ok '... auto warns' says 'warning: computing on the CPU: cannot load'

needs_plugin 'programs on an emulated GPU'
gpu_folder alone bin/jrl-sample bin/jrl-logprob bin/jrl-update
gpu_sample() { alone/bin/jrl-sample --policy policy --device cuda "${sampling[@]}" "$@" problems.jrl; }

# What the emulated machine says.
ok 'no driver' fails_with 1 "no device 'cuda:0': no NVIDIA driver" env JRL_EMULATOR_DRIVER=none alone/bin/jrl-sample --policy policy --device cuda problems.jrl
ok 'a driver that is too old' fails_with 1 'the NVIDIA driver is too old: it knows CUDA 12.4, this build is of 13.0' env JRL_EMULATOR_DRIVER=old alone/bin/jrl-sample --policy policy --device cuda problems.jrl
ok 'a driver that does not work' fails_with 1 'the driver does not work: ' env JRL_EMULATOR_DRIVER=broken alone/bin/jrl-sample --policy policy --device cuda problems.jrl
export JRL_EMULATOR_DRIVER=broken
ok '... auto warns and computes on the CPU' says 'warning: computing on the CPU: the driver does not work'
unset JRL_EMULATOR_DRIVER
ok 'a GPU that another process keeps' fails_with 1 "no device 'cuda:0': GPU 0 cannot be used: .* busy or unavailable" env JRL_EMULATOR_DRIVER=busy alone/bin/jrl-sample --policy policy --device cuda problems.jrl
ok 'no GPU' fails_with 1 'no NVIDIA GPU' env JRL_EMULATOR_DEVICES=0 alone/bin/jrl-sample --policy policy --device cuda problems.jrl
ok 'fewer GPUs' fails_with 2 "no device 'cuda:2': this machine has 2, number 0 to 1" env JRL_EMULATOR_DEVICES=2 alone/bin/jrl-sample --policy policy --device cuda:2 problems.jrl
ok 'a GPU that is too old' fails_with 1 'GPU 0 is too old: compute capability 7.5, at least 8.0' env JRL_EMULATOR_CAPABILITY=75 alone/bin/jrl-sample --policy policy --device cuda problems.jrl
ok 'a GPU that is too small' fails_with 1 'GPU 0 is too small: 99 KiB of shared memory a block, at least 145' env JRL_EMULATOR_SHARED=101376 alone/bin/jrl-sample --policy policy --device cuda problems.jrl
ok 'memory that is not enough' fails_with 2 'memory|fit' env JRL_EMULATOR_MEMORY=500000 alone/bin/jrl-sample --policy policy --device cuda --max-tokens 3 problems.jrl
ok 'memory that ends early' fails_with 1 'GPU 0: no memory for .*: [0-9]+ bytes, [0-9]+ are free' \
    env JRL_EMULATOR_MEMORY=500000 alone/bin/jrl-sample --policy policy --device cuda --max-tokens 3 --memory 1G problems.jrl
ok 'a kernel that fails' fails_with 1 'GPU 0: .*rope_row.*: unspecified launch failure' env JRL_EMULATOR_FAIL=rope_row alone/bin/jrl-sample --policy policy --device cuda problems.jrl

export JRL_EMULATOR_OPEN=1 # faster; some runs below keep device memory closed to the host
# f32 has the CPU's bits: tokens, logprobs, entropies.
ok 'greedy in f32: the records of the CPU' same <(records <(env -u JRL_EMULATOR_OPEN alone/bin/jrl-sample --policy policy --device cuda "${sampling[@]}" --greedy --dtype f32 problems.jrl)) <(records <(jrl-sample --device cpu --policy policy --dtype f32 "${sampling[@]}" --greedy problems.jrl))
jrl-sample --device cpu --policy policy --dtype f32 "${sampling[@]}" problems.jrl -o cpu-f32.jrl
ok 'sampled in f32: the records of the CPU' same <(records <(gpu_sample --dtype f32)) <(records cpu-f32.jrl)
ok '... with top-k and top-p' same <(records <(gpu_sample --dtype f32 --top-k 40 --top-p 0.9 --temperature 0.7)) \
    <(records <(jrl-sample --device cpu --policy policy --dtype f32 "${sampling[@]}" --top-k 40 --top-p 0.9 --temperature 0.7 problems.jrl))
jrl-sample --device cpu --policy policy --dtype bf16 "${sampling[@]}" problems.jrl -o cpu-bf16.jrl
ok 'bf16 without tensor cores: the records of the CPU' same <(records <(JRL_DISABLE=tensor gpu_sample --dtype bf16)) <(records cpu-bf16.jrl)

# bf16 on tensor cores: its own bits, but the same for any batch.
gpu_sample --dtype bf16 > bf16.jrl
for batch in 1 3; do
    ok "bf16, $batch at a time: the same records" same <(records <(gpu_sample --dtype bf16 --batch "$batch" --prefill-tokens 9)) <(records bf16.jrl)
done
# Without wgmma, as on an A100 or on what came after Hopper, and with the tiles that so many processors are given.
on_gpu() { JRL_EMULATOR_CAPABILITY=$1 JRL_EMULATOR_PROCESSORS=$2 JRL_EMULATOR_SHARED=$(($3 << 10)) "${@:4}"; }
for gpu in '80 108 163' '100 148 227' '90 132 227'; do
    # shellcheck disable=SC2086 # three words
    ok "a GPU of ${gpu:0:2} with $(cut -d' ' -f2 <<< "$gpu") processors: the same records" same <(records <(on_gpu $gpu gpu_sample --dtype bf16)) <(records bf16.jrl)
done
ok 'near the logprobs of the CPU' jq -e -n '[inputs.logprobs["$f32"][0]] as $x | range(8) as $i | ($x[$i] - $x[$i + 8]) | fabs < 2e-2' <(jrl-view bf16.jrl) <(jrl-view cpu-bf16.jrl)

# A step of decoding is one launch, whose tokens come while the next step runs. Sequences that end on a token, or by their length, among others.
ends=(--samples 5 --max-tokens 30 --entropies)
for stop in a b c 0 1 X Y '('; do ends+=(--stop "$stop"); done
for dtype in f32 bf16; do
    alone/bin/jrl-sample --policy policy --device cuda --dtype $dtype "${ends[@]}" --batch 9 --prefill-tokens 9 problems.jrl -o "graphs-$dtype.jrl"
    ok "$dtype: step by step the same records as kernel by kernel" same <(records "graphs-$dtype.jrl") \
        <(records <(JRL_DISABLE=graphs alone/bin/jrl-sample --policy policy --device cuda --dtype $dtype "${ends[@]}" problems.jrl))
done
ok '... and in f32 those of the CPU' same <(records graphs-f32.jrl) <(records <(jrl-sample --policy policy --device cpu --dtype f32 "${ends[@]}" problems.jrl))
ok '... some ended on a token, some by their length' jq -e -s 'map(.finish) | index("stop") and index("length")' <(jrl-view graphs-f32.jrl)
# count FILE TOKENS [WORD]: what a response of so many tokens asks the GPU for
count() {
    JRL_DISABLE=${3-} JRL_EMULATOR_COUNTS=$1 alone/bin/jrl-sample --policy policy --device cuda --samples 4 --max-tokens "$2" --dtype bf16 one.jrl > /dev/null
}
# more COUNT N: 10 more tokens ask for so many more
more() { [ $(($(awk "/^$1 /"'{print $2}' long.txt) - $(awk "/^$1 /"'{print $2}' short.txt))) = "$2" ] || { paste short.txt long.txt; return 1; }; }
jrl-view problems.jrl | sed -n 2p | jrl-pack -o one.jrl
count short.txt 20
count long.txt 30
ok 'a token of some sequences: one launch of a graph' more graphs 10
ok '... and of no kernel' more kernels 0
ok '... two copies of lists up' more up 20
ok '... one of results down' more down 10
ok '... one wait' more waits 10
count short.txt 20 graphs
count long.txt 30 graphs
ok 'JRL_DISABLE=graphs: no graph' more graphs 0

# Zero mismatch: sampled token by token, scored in one pass; on a sequence long enough for its positions to be cut in parts.
# no_mismatch DTYPE [OPTION...] [FILE]; device memory closed to the host
no_mismatch() {
    env -u JRL_EMULATOR_OPEN alone/bin/jrl-logprob --policy policy --device cuda --as old --entropies --dtype "$@" |
        jrl-view | jq -e -s 'length > 0 and all(.logprobs == .old_logprobs and .entropies == .old_entropies)'
}
long_mismatch() { alone/bin/jrl-sample --policy policy --device cuda --dtype bf16 --samples 2 --max-tokens 6 --entropies long.jrl | no_mismatch bf16; }
ok 'no mismatch in bf16' no_mismatch bf16 bf16.jrl
ok '... one at a time' no_mismatch bf16 --micro-tokens 1 bf16.jrl
ok '... on an A100' on_gpu 80 108 163 no_mismatch bf16 bf16.jrl
ok 'no mismatch in f32' no_mismatch f32 cpu-f32.jrl
echo "{\"uid\":9,\"prompt\":\"$(head -c 300 /dev/zero | tr '\0' 'y')\"}" | jrl-pack -o long.jrl
ok 'no mismatch behind 300 tokens' long_mismatch

# A GPU that fails in the middle of a recorded step: what was written before is whole.
fails_late() { JRL_EMULATOR_FAIL=choose:9:late gpu_sample --dtype bf16 --batch 2 > cut.jrl; }
ok 'a GPU that fails among responses' fails_with 1 'jrl-sample: error: GPU 0: kernels: unspecified launch failure' fails_late
ok '... those before it can be salvaged' same <(records <(jrl-cat -q --salvage cut.jrl)) <(records bf16.jrl | head -n 4)

# Fast numerics: products of bf16 by a library, whose twin adds in another order for more than 16 rows.
fast_says() { gpu_sample --dtype bf16 --numerics fast -o said.jrl --force 2>&1 | grep -Eq "$1"; }
ok 'fast without the library: a warning' fast_says 'warning: numerics stay strict: .*libcublasLt'
ok '... and the records of strict' same <(records said.jrl) <(records bf16.jrl)
add_cublaslt alone
ok 'a library that does not work' env JRL_EMULATOR_CUBLASLT=broken bash -c "$(declare -f fast_says gpu_sample); sampling=(${sampling[*]}); fast_says 'warning: numerics stay strict: .* does not work: the library was not initialized'"
ok 'tensor cores switched off' env JRL_DISABLE=tensor bash -c "$(declare -f fast_says gpu_sample); sampling=(${sampling[*]}); fast_says 'warning: numerics stay strict: tensor cores are switched off'"
ok 'a product that fails' fails_with 1 'GPU 0: cublasLtMatmul: the GPU program failed to execute' \
    env JRL_EMULATOR_FAIL=cublasLtMatmul alone/bin/jrl-sample --policy policy --device cuda --numerics fast --dtype bf16 problems.jrl
ok '... is none of strict' env JRL_EMULATOR_FAIL=cublasLtMatmul alone/bin/jrl-sample --policy policy --device cuda --dtype bf16 --max-tokens 2 -o said.jrl --force problems.jrl
env -u JRL_EMULATOR_OPEN alone/bin/jrl-sample --policy policy --device cuda --numerics fast --dtype bf16 "${sampling[@]}" problems.jrl > fast.jrl 2> fast.err
ok 'fast with the library: nothing is said' test ! -s fast.err
ok '... again: the same records' same <(records <(gpu_sample --dtype bf16 --numerics fast)) <(records fast.jrl)
# With a vocabulary that the library takes, too: else few differences are left when all has been rounded to bf16.
jrl-model make -q -o wide --dtype f32 --shape dim=128,layers=2,heads=2,kv-heads=1,mlp=96,positions=512,vocab=320
alone/bin/jrl-sample --policy wide --device cuda --numerics fast --dtype bf16 "${sampling[@]}" problems.jrl > wide.jrl
alone/bin/jrl-logprob --policy wide --device cuda --numerics fast --as old --dtype bf16 wide.jrl > scored.jrl
ok '... sampler and trainer differ, and by little' jq -es '[.[] | [.logprobs["$f32"], .old_logprobs["$f32"]] | transpose[] | .[0] - .[1] | fabs] | max > 0 and max < 2e-2' <(jrl-view scored.jrl)
ok '... f32 has the records of the CPU' same <(records <(gpu_sample --dtype f32 --numerics fast)) <(records cpu-f32.jrl)
ok 'fast on the CPU is strict' same <(records <(jrl-sample --device cpu --numerics fast --policy policy --dtype bf16 "${sampling[@]}" problems.jrl)) <(records cpu-bf16.jrl)
ok 'numerics that there are not' fails_with 2 "option '--numerics'" jrl-sample --numerics quick --policy policy problems.jrl

# Models with biases, a head of their own, and heads of a size that tensor cores are not used for.
jrl-model make -q -o qwen --arch qwen2 --dtype f32 --shape dim=48,layers=2,heads=4,kv-heads=2,mlp=40,positions=256,tied=0
ok 'biases: the records of the CPU' same <(records <(alone/bin/jrl-sample --policy qwen --device cuda --dtype f32 --max-tokens 6 problems.jrl)) \
    <(records <(jrl-sample --policy qwen --device cpu --dtype f32 --max-tokens 6 problems.jrl))
ok 'bf16 weights converted on the way: the records of the CPU' same <(records <(JRL_DISABLE=tensor alone/bin/jrl-sample --policy qwen --device cuda --dtype bf16 --max-tokens 6 problems.jrl)) \
    <(records <(jrl-sample --policy qwen --device cpu --dtype bf16 --max-tokens 6 problems.jrl))
# Little memory: sequences lose their pages and are computed again.
few=(--dtype f32 --samples 6 --max-tokens 40)
alone/bin/jrl-sample --policy policy --device cuda "${few[@]}" --batch 12 --prefill-tokens 32 --memory 2M -v problems.jrl -o few.jrl 2> few.err
ok 'memory for 18 pages: sequences were preempted' grep -Eq ' [1-9][0-9]* preempted' few.err
ok '... kernel by kernel the same records' same <(records few.jrl) <(records <(JRL_DISABLE=graphs alone/bin/jrl-sample --policy policy --device cuda "${few[@]}" problems.jrl))
ok '... and the records are those of the CPU' same <(records few.jrl) <(records <(jrl-sample --policy policy --device cpu "${few[@]}" problems.jrl))
done_testing
