# jrl-update on an emulated GPU: the bits of the CPU where kernels have them, the same bits however it is run, its memory, and
# a GPU that fails in the middle of a step.
# shellcheck shell=bash disable=SC2016
. "$(dirname "$0")/tap.sh"
# shellcheck source=tests/batch.sh
. "$JRL_TOP/tests/batch.sh"
# shellcheck source=tests/gpu.sh
. "$JRL_TOP/tests/gpu.sh"

needs_plugin 'training on an emulated GPU'
gpu_folder gpu bin/jrl-sample bin/jrl-update
export JRL_EMULATOR_OPEN=1 # faster; some runs below keep device memory closed to the host

learn=(--lr 1e-3 --warmup 0 --mini-batch 3)
update() { jrl-update --device cpu "${learn[@]}" "$@" > /dev/null; }
gpu_update() { gpu/bin/jrl-update --device cuda "${learn[@]}" "$@" > /dev/null; }
weights() { sha256sum < "$1/model.safetensors"; }
# same_policy A B: weights, all of the optimiser's state, and what the metrics say
same_policy() {
    local file
    [ "$(weights "$1")" = "$(weights "$2")" ] || { echo "the weights differ"; return 1; }
    for file in master m v; do cmp "$1/optimizer/$file.safetensors" "$2/optimizer/$file.safetensors" || return 1; done
    diff <(without_times "$1/metrics.json" | jq 'del(.parent)') <(without_times "$2/metrics.json" | jq 'del(.parent)')
}
# both NAME POLICY BATCH [OPTION...]: one step on the CPU and on the GPU
both() {
    local name=$1 policy=$2 batch=$3
    shift 3
    update --policy "$policy" --out "cpu-$name" "$@" "$batch" && gpu_update --policy "$policy" --out "gpu-$name" "$@" "$batch" &&
        same_policy "cpu-$name" "gpu-$name"
}
nothing_left() { [ ! -e "$1" ] && [ -z "$(find . -maxdepth 1 -name ".$1.*")" ]; }

# Heads of 64 for the tensor cores, one table; and biases, a head of its own, small heads.
jrl-model make -q -o p --dtype f32 --shape dim=128,layers=2,heads=2,kv-heads=1,mlp=96,positions=256 || exit 1
jrl-model make -q -o q --dtype f32 --arch qwen2 --shape dim=48,layers=2,heads=4,kv-heads=2,mlp=40,positions=256,tied=0
for policy in p q; do batch $policy 1 --dtype f32 --max-tokens 9 > $policy.jrl; done
batch p 1 --dtype bf16 --max-tokens 9 > p-bf16.jrl

# The bits of the CPU.
ok 'f32: the policy of the CPU' env -u JRL_EMULATOR_OPEN bash -c "$(declare -f both update gpu_update same_policy weights without_times); $(declare -p learn); both f32 p p.jrl --recompute-old"
ok '... state.json says what computed it' on_tensor_cores gpu-f32
jrl-logprob --device cpu --policy q --as ref q.jrl > q-ref.jrl
ok '... with biases, a reference and an entropy term' both biases q q-ref.jrl --kl-coef 0.1 --entropy-coef 0.01
export JRL_DISABLE=tensor
ok 'bf16 without tensor cores: the policy of the CPU' both bf16 p p-bf16.jrl --dtype bf16
batch q 1 --dtype bf16 --max-tokens 9 > q-bf16.jrl
ok '... of f32 weights with biases' both biases-bf16 q q-bf16.jrl --dtype bf16
unset JRL_DISABLE

# bf16 on tensor cores: bits of its own, but the same however it is run.
problems 1 6 | jrl-pack --kind problem | gpu/bin/jrl-sample --device cuda --policy p --dtype bf16 --samples 4 --max-tokens 9 |
    rewrite '.correct = (.sample % 2 == 0) | .reward = (if .correct then 1 else -1 end)' | jrl-advantage > tensor.jrl
tensor() { local name=$1; shift; gpu_update --policy p --dtype bf16 --out "$name" "$@" tensor.jrl; }
ok 'tensor cores: the logprobs of the sampler' env -u JRL_EMULATOR_OPEN bash -c "$(declare -f tensor gpu_update); $(declare -p learn); tensor t --recompute-old"
ok '... the first ratio is exactly 1, no old logprob differs' test "$(metric t '[.ratio_first_min, .ratio_first_max, .old_different, .old_compared > 0] | @csv')" = 1,1,0,true
ok '... with passes of one sequence' tensor micro --micro-tokens 1 --recompute-old
ok '... the same policy' same_policy t micro
for how in none mlp layer; do
    ok "... with small passes and --recompute $how" tensor $how --micro-tokens 100 --recompute $how --recompute-old
    ok '... the same policy' same_policy t $how
done
# On a GPU without wgmma, the same logprobs.
ok '... on an A100' env JRL_EMULATOR_CAPABILITY=80 JRL_EMULATOR_PROCESSORS=108 JRL_EMULATOR_SHARED=166912 bash -c "$(declare -f tensor gpu_update); $(declare -p learn); tensor a100 --recompute-old"
# With beta1 0 the first moment is the gradient.
gradient=(--beta1 0 --grad-clip 0 --mini-batch 6)
gradients_near() {
    update --policy p --dtype bf16 --allow-off-policy --out grad-cpu "${gradient[@]}" tensor.jrl && tensor grad-gpu "${gradient[@]}" &&
        python3 -c 'import array, math, sys
def read(path):
    with open(path, "rb") as f:
        f.seek(8 + int.from_bytes(f.read(8), "little"))
        return array.array("f", f.read())
def norm(x):
    return math.sqrt(math.fsum(v * v for v in x))
a, b = (read(f"{d}/optimizer/m.safetensors") for d in sys.argv[1:])
off = norm([x - y for x, y in zip(a, b)]) / norm(a)
print(off)
sys.exit(not 0 < off <= 2e-2)' grad-cpu grad-gpu
}
ok '... gradients within 2e-2 of those of the CPU' gradients_near

# Fast numerics: sampler and trainer differ a little, which is measured, and corrected. The emulated library is made to differ; by how much a
# real one does with sizes as small as these, if at all, is up to it. The vocabulary is one that it takes: with the head in the contract's order,
# few differences are left when all has been rounded to bf16.
jrl-model make -q -o wide --dtype f32 --shape dim=128,layers=2,heads=2,kv-heads=1,mlp=96,positions=256,vocab=320
if emulated; then add_cublaslt gpu; fi
problems 1 6 | jrl-pack --kind problem | gpu/bin/jrl-sample --device cuda --numerics fast --policy wide --dtype bf16 --samples 4 --max-tokens 9 --batch 4 |
    rewrite '.correct = (.sample % 2 == 0) | .reward = (if .correct then 1 else -1 end)' | jrl-advantage > fast.jrl
fast() { local name=$1; shift; gpu_update --numerics fast --policy wide --dtype bf16 --out "$name" "$@" fast.jrl; }
ok 'fast numerics: one step' env -u JRL_EMULATOR_OPEN bash -c "$(declare -f fast gpu_update); $(declare -p learn); fast fast"
path=$(jq -r .numerics.path fast/state.json)
if emulated || [[ $path == cuda-fast-* ]]; then
    ok '... state.json says what computed it' eval '[[ $path == cuda-fast-* ]]'
else
    skip '... by the library' 'this machine has no cuBLASLt'
fi
ok '... again' fast fast-again
ok '... the same policy' same_policy fast fast-again
ok '... corrected by --is-cap' fast fast-is --is-cap 2
if emulated; then
    ok '... the mismatch is measured' test "$(metric fast '.mismatch_share > 0 and .mismatch_max > 0 and .mismatch_max < 2e-2 and .mismatch_mean < .mismatch_max')" = true
    ok '... refused by --recompute-old' fails_with 3 'of the batch: the logprob of token' gpu/bin/jrl-update --device cuda "${learn[@]}" --numerics fast --policy wide --dtype bf16 \
        --out refused --recompute-old fast.jrl
    ok '... with weights near 1' test "$(metric fast-is '.is_weight_max != 1 and (.is_weight_mean - 1 | fabs) < 1e-2 and .is_capped == 0 and .old_different > 0')" = true
fi
ok 'strict: --is-cap changes nothing' tensor t-is --is-cap 2
ok '... the same weights' test "$(weights t) $(metric t-is '[.is_weight_mean, .is_weight_max] | @csv')" = "$(weights t-is) 1,1"

# Going on: on the GPU, and from there on the CPU.
examples() { problems "$1" 4 | jq -c 'if .jrl then . else .text = "the answer is \(.uid * 7)" end'; }
for k in 1 2; do examples $k | jrl-pack --kind rollout > e$k.jrl; done
{ examples 1; examples 2; } | jrl-pack --kind rollout > e12.jrl
learn=(--objective nll --lr 1e-2 --warmup 4 --mini-batch 2)
ok 'two steps in one process' gpu_update --policy p --dtype bf16 --out s12 e12.jrl
ok '... the first' gpu_update --policy p --dtype bf16 --out s1 e1.jrl
ok '... and the second of a process of its own' gpu_update --policy s1 --out s2 e2.jrl
ok '... the same policy' same_policy s12 s2
ok 'f32: the first step on the GPU' gpu_update --policy p --out f1 e1.jrl
ok '... and the second on the CPU' update --policy f1 --out f2 e2.jrl
ok '... both on the CPU' update --policy p --out f12 e12.jrl
ok '... the same policy' same_policy f12 f2
path=$(jq -r .numerics.path s1/state.json)
goes_on() { # COMMAND...
    "$@" "${learn[@]}" --policy s1 --out mixed e2.jrl 2>&1 > /dev/null | grep -q "warning: 's1' was trained on $path"
}
ok 'bf16 from tensor cores to the CPU: goes on and warns' goes_on jrl-update --device cpu
if [[ $path == cuda-wgmma-* ]]; then
    rm -r mixed
    ok '... to tensor cores without wgmma, whose gradients have other bits, too' goes_on env JRL_DISABLE=wgmma gpu/bin/jrl-update --device cuda
fi

# Logprobs come down once a pass, however many chunks of 2816 rows the head takes.
# asks SEQUENCES FILE: what a step of so many sequences of 256 rows asks the GPU for
asks() {
    for ((i = 0; i < $1; i++)); do printf '{"uid":%d,"prompt":"a","text":"%0230d"}\n' "$i" "$i"; done | jrl-pack --kind rollout |
        JRL_EMULATOR_COUNTS=$2 gpu_update --policy narrow --out "narrow-$1" --mini-batch "$1"
}
same_count() { diff <(grep "^$1 " eleven.txt) <(grep "^$1 " twelve.txt); }
if emulated; then
    jrl-model make -q -o narrow --dtype bf16 --shape dim=16,layers=1,heads=1,kv-heads=1,mlp=16,positions=256
    ok 'a head of one chunk' asks 11 eleven.txt
    ok '... of two' asks 12 twelve.txt
    ok '... downloads no more often' same_count down
    ok '... but computes more' exits 1 same_count kernels
fi

# Memory
plan() { gpu/bin/jrl-update --device cuda --policy p --out never --micro-tokens 128 "${learn[@]}" "$@"; }
total() { plan --plan "$@" | sed -n 's/^total *\([0-9]*\) .*/\1/p'; }
in_plan() { plan --plan "${@:2}" | grep -q "^$1"; }
ok 'the plan has what lies on the GPU' in_plan optimiser
ok '... and not what does not' exits 1 in_plan 'weights, mapped'
ok 'memory that is not enough is refused before it is taken' fails_with 2 'takes [0-9]+ bytes of memory, [0-9]+ more than the [0-9]+ it may use: --micro-tokens [0-9]+ fits' \
    plan --memory 6M --micro-tokens 16384 e1.jrl
ok '... keeping activations' fails_with 2 '[0-9]+ more than .*: --recompute layer fits' plan --memory "$(total --recompute layer)" --recompute none e1.jrl
ok '... keeping all but gate and up' fails_with 2 '[0-9]+ more than .*: --recompute mlp fits' plan --memory "$(total --recompute mlp)" --recompute none e1.jrl
ok 'activations are kept' in_plan 'kept activations'
if ! emulated; then
    done_testing
    exit 0
fi
# DeepSeek-R1-Distill-Qwen-1.5B with its optimiser and a sequence of 16k tokens in 80 GB, of which a tenth is left; the weights are a hole in a file.
cat > sparse.py << 'END'
import json, os
dim, wide, tensors, at = 1536, 8960, {"model.norm.weight": [1536]}, 0
for name in "model.embed_tokens", "lm_head":
    tensors[name + ".weight"] = [151936, dim]
for i in range(28):
    for name, shape in (("input_layernorm", [dim]), ("post_attention_layernorm", [dim]), ("self_attn.q_proj", [dim, dim]), ("self_attn.k_proj", [256, dim]),
                        ("self_attn.v_proj", [256, dim]), ("self_attn.o_proj", [dim, dim]), ("mlp.gate_proj", [wide, dim]), ("mlp.up_proj", [wide, dim]),
                        ("mlp.down_proj", [dim, wide])):
        tensors[f"model.layers.{i}.{name}.weight"] = shape
        if name[-6:] in ("q_proj", "k_proj", "v_proj"):
            tensors[f"model.layers.{i}.{name}.bias"] = shape[:1]
for name in sorted(tensors):
    shape, begin, at = tensors[name], at, at + 2 * tensors[name][0] * (tensors[name] + [1])[1]
    tensors[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, at]}
header = json.dumps(tensors).encode()
os.mkdir("large")
with open("large/model.safetensors", "wb") as f:
    f.write(len(header).to_bytes(8, "little") + header)
    f.truncate(8 + len(header) + at)
with open("large/config.json", "w") as f:
    json.dump({"model_type": "qwen2", "hidden_size": dim, "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2, "intermediate_size": wide,
               "vocab_size": 151936, "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "rope_theta": 10000, "torch_dtype": "bfloat16"}, f)
END
large() { JRL_EMULATOR_PROCESSORS=132 JRL_EMULATOR_MEMORY=$1 gpu/bin/jrl-update --device cuda --policy large --out never --micro-tokens 16384 --plan; }
ok 'a policy of 1.5B' python3 sparse.py
cp p/tokenizer*.json large
ok '... trains on 16k tokens in 80 GB and computes only gate and up again' bash -c "$(declare -f large); large 80000000000 | grep '^kept, without mlp .* 16384 '"
ok '... and not in 40' exits 2 large 40000000000
export JRL_EMULATOR_MEMORY=$(($(total --recompute layer) * 10 / 9 + 1000))
ok '... as far as the memory of the GPU goes' in_plan 'kept layer inputs'
unset JRL_EMULATOR_MEMORY
export JRL_EMULATOR_MEMORY=$(($(total --recompute mlp) * 10 / 9 + 1000))
ok '... which may be enough for all but gate and up' in_plan 'kept, without mlp'
unset JRL_EMULATOR_MEMORY
with_memory() { JRL_EMULATOR_MEMORY=$1 gpu_update --policy p --memory 1G --micro-tokens 128 "${@:2}" e1.jrl; }
for how in none mlp layer; do
    n=$(total --recompute $how)
    ok "it is enough with --recompute $how" with_memory $((n + 65536)) --recompute $how --out "enough-$how"
    ok '... and not much too much' fails_with 1 'GPU 0: no memory for .*: [0-9]+ bytes, [0-9]+ are free' with_memory $((n * 8 / 10)) --recompute $how --out "little-$how"
    ok '... nothing is left' nothing_left "little-$how"
done

# A GPU that fails
fails() { local how=$1; shift; fails_with 1 "jrl-update: error: .*GPU 0: .*: unspecified launch failure" env JRL_EMULATOR_FAIL="$how" gpu/bin/jrl-update --device cuda "${learn[@]}" "$@"; }
for how in swiglu_all_back adamw:2 adamw:2:late embedding_rows_back:2:late; do
    ok "a GPU that fails: $how" fails $how --policy s1 --out failed e2.jrl
    ok '... nothing is left' nothing_left failed
done
ok 'the run goes on from the last policy' gpu_update --policy s1 --out failed e2.jrl
ok '... the same policy' same_policy failed s2
done_testing
