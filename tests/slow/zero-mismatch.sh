#!/usr/bin/env bash
# Zero mismatch: jrl-sample, jrl-logprob and the forward pass of jrl-update give every one of 10^6 tokens the same logprob, bit
# for bit, with SmolLM2-135M's shape in bf16 on the fastest path of this processor, or of a GPU.
# Usage: zero-mismatch.sh [TOKENS [DEVICE [SHAPE [BATCH]]]]. By the rates of tests/bench/performance.md some 15 minutes with AMX, 80 on two
# cores with AVX-512; 20000 tokens show in two minutes that it works. DEVICE is as in --device: cuda is what tests/gpu.sh finds, the
# emulated GPU if nothing names a real one.
# shellcheck disable=SC2016 # dollars of jq
# shellcheck source=tests/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/../tap.sh"
# shellcheck source=tests/gpu.sh
. "$JRL_TOP/tests/gpu.sh"
wanted=${1:-1000000} device=${2:-cpu} shape=${3:-smollm2-135m} samples=8 length=128 batch=${4:-96}
if [ "$device" != cpu ]; then
    needs_plugin 'zero mismatch on a GPU'
    gpu_folder gpu bin/jrl-sample bin/jrl-logprob bin/jrl-update
    PATH=$scratch/gpu/bin:$PATH length=512 batch=${4:-512} # a step takes a GPU nearly the same time for more sequences
fi
[ "$wanted" -ge 20000 ] || length=16
groups=$((wanted / (samples * length)))
problems=$((groups + groups / 50 + 2)) # a few more: some responses end early
exec 3>&1
set -o pipefail

# Prompts of 1 to 61 tokens: pages are cut, shared and filled in every way.
for ((i = 0; i < problems; i++)); do
    printf '{"uid":%d,"draw":%d,"step":1,"prompt":"%s","answer":"0"}\n' "$i" "$i" "$(head -c $((i * 37 % 61 + 1)) /dev/zero | tr '\0' 'x')"
done > problems.jsonl
echo '{"jrl":"batch","k":1}' >> problems.jsonl

# The three programs read the same rollouts; all rewards are equal and the mini-batch is the whole batch, so that the update is its
# forward pass, and what it finds is of every token.
count() { jrl-view --fields tokens rollouts.jrl | jq -n '[inputs.tokens["$u32"] | length] | add' > total; }
sampled() {
    jrl-model make --shape "$shape" -o policy &&
        jrl-pack --kind problem problems.jsonl |
        jrl-sample --device "$device" --policy policy --samples "$samples" --max-tokens "$length" --batch "$batch" -o rollouts.jrl &&
        count && echo "# $(cat total) tokens" >&3
    [ "$(cat total)" -ge "$wanted" ]
}
scored() { # counts tokens and those that differ, record by record
    jrl-logprob --device "$device" --policy policy --as old rollouts.jrl | jrl-view --fields logprobs,old_logprobs |
        jq -n -c 'reduce inputs as $r ([0, 0];
            .[0] += ($r.logprobs["$f32"] | length) |
            .[1] += ([$r.logprobs["$f32"], $r.old_logprobs["$f32"]] | transpose | map(select(.[0] != .[1] or (.[0] | isnormal or . == 0 | not))) | length))' > counts
    cat counts
    [ "$(cat counts)" = "[$(cat total),0]" ]
}
updated() {
    jrl-verify --rule dapo rollouts.jrl | jrl-advantage |
        jrl-update --device "$device" --policy policy --out next --mini-batch "$problems" --metrics metrics.json || return 1
    jq -c '[.length * .rollouts, .mismatch_share, .mismatch_max]' metrics.json
    jq -e --argjson n "$(cat total)" '(.length * .rollouts | round) == $n and .updates == 1 and .mismatch_share == 0 and .mismatch_max == 0' metrics.json
}

timed "at least $wanted tokens are sampled" sampled
timed 'jrl-logprob gives each the same logprob' scored
timed 'and so does the forward pass of jrl-update' updated
# That a difference would be seen, among the first records.
bend() {
    jrl-cat -n 24 --drain rollouts.jrl | jrl-view --header |
        jq -c 'if .jrl or .uid != 1 or .sample != 0 then . else .logprobs["$f32"][5] += 0.000001 end' | jrl-pack -o bent.jrl &&
        mv bent.jrl rollouts.jrl && count
}
ok 'one logprob is changed' bend
ok 'jrl-logprob shows it' exits 1 scored
ok '... as one' grep -Fx "[$(cat total),1]" counts
done_testing
