#!/usr/bin/env bash
# GPU beside CPU with SmolLM2-135M's shape: f32 has the same bits, bf16 is near in logprobs and gradients, and no logprob of 10^6 tokens
# differs among the programs on the GPU. The last part of check-gpu; without a real plug-in (tests/gpu.sh) on the emulated GPU, where
# this shows in a minute that it works: gpu-parity.sh 500 dim=128,layers=2,heads=2,kv-heads=1,mlp=96,positions=256
# Usage: gpu-parity.sh [TOKENS [SHAPE]]
# shellcheck disable=SC2016 # dollars of jq
# shellcheck source=tests/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"
# shellcheck source=tests/gpu.sh
. "$JRL_TOP/tests/gpu.sh"
wanted=${1:-1000000} shape=${2:-smollm2-135m}
needs_plugin 'GPU beside CPU'
gpu_folder gpu bin/jrl-sample bin/jrl-logprob bin/jrl-update
PATH=$scratch/gpu/bin:$PATH
exec 3>&1
set -o pipefail

for i in 0 1 2 3; do
    printf '{"uid":%d,"draw":%d,"step":1,"prompt":"%s","answer":"0"}\n' $i $i "$(head -c $((i * 17 + 1)) /dev/zero | tr '\0' 'x')"
done > problems.jsonl
echo '{"jrl":"batch","k":1}' >> problems.jsonl
jrl-pack --kind problem problems.jsonl -o problems.jrl
jrl-model make -q --shape "$shape" -o policy || exit 1

# same_records NAME [OPTION...]: in f32, tokens and logprobs of both devices; NAME.jrl keeps them
same_records() {
    local name=$1 device
    shift
    for device in cpu cuda; do
        jrl-sample --device $device --dtype f32 --policy policy --max-tokens 64 "$@" -o "$name.jrl" --force problems.jrl &&
            jrl-view "$name.jrl" > $device.jsonl || return 1
    done
    echo "# $(jq -n '[inputs.tokens["$u32"] | length] | add' cuda.jsonl) tokens" >&3
    cmp cpu.jsonl cuda.jsonl
}

# The spread of the logprobs is that of the logits, which are more by a number that is nearly the same everywhere: so what differs,
# over that spread, is the relative error of logits, which bf16 keeps below 1e-2. A NaN is a string here and ends jq.
logprobs_near() {
    jrl-logprob --device cuda --dtype bf16 --policy policy --as gpu sampled.jrl | jrl-view > scored.jsonl &&
        jq -n -c 'def mean: add / length; [inputs | [.gpu_logprobs["$f32"], .logprobs["$f32"]] | transpose[]] |
            (map(.[1]) | mean) as $center | map(.[0] - .[1] | fabs) as $off |
            {mean: ($off | mean), max: ($off | max),
             relative: (($off | map(. * .) | add) / (map(.[1] - $center | . * .) | add) | sqrt)}' scored.jsonl > off.json &&
        echo "# bf16 logprobs off $(cat off.json)" >&3 && jq -e '0 < .relative and .relative <= 1e-2' off.json
}

# With beta1 0 the first moment is the gradient: in the place of weights, it is compared as they are.
gradient() {
    jrl-update --device "$1" --dtype "$2" --policy policy --allow-off-policy --beta1 0 --grad-clip 0 --mini-batch 4 --out "$1" batch.jrl > /dev/null &&
        mv "$1/optimizer/m.safetensors" "$1/model.safetensors" && rm -r "$1/optimizer" "$1/state.json"
}
gradients_near() {
    jrl-view --header sampled.jrl | jq -c 'if .jrl then . else .correct = (.sample == 0) | .reward = 1 - 2 * .sample end' |
        jrl-pack | jrl-advantage -o batch.jrl && gradient cpu f32 && gradient cuda bf16 &&
        jrl-model compare -j cpu cuda | jq -n '[inputs | (.elements * .rms * .rms) as $off | [$off, $off / (.relative * .relative)]] |
            transpose | map(add) | .[0] / .[1] | sqrt' > off.json &&
        echo "# bf16 gradients off $(cat off.json) of their norm" >&3 && jq -e '0 < . and . <= 2e-2' off.json
}

no_mismatch() {
    bash "$JRL_TOP/tests/slow/zero-mismatch.sh" "$wanted" cuda "$shape" | sed 's/^/    /' | tee mismatch.tap >&3
    grep -q '^    1\.\.[1-9]' mismatch.tap && ! grep '^    not ok' mismatch.tap
}

timed 'f32, greedy: the records of the CPU' same_records greedy --greedy
timed 'f32, sampled: the records of the CPU' same_records sampled --samples 2
timed 'bf16: logprobs near those of f32 on the CPU' logprobs_near
timed 'bf16: gradients near those of f32 on the CPU' gradients_near
rm -rf cpu cuda
timed 'bf16: zero mismatch' no_mismatch
done_testing
echo "gpu-parity: $((tap_n - tap_failed)) passed, $tap_failed failed, $SECONDS s"
[ "$tap_failed" = 0 ]
