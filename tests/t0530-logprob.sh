# jrl-logprob, and that its logprobs are those of jrl-sample, bit for bit.
# shellcheck shell=bash disable=SC2016
. "$(dirname "$0")/tap.sh"

for i in 0 1 2 3 4 5; do
    echo "{\"uid\":$i,\"prompt\":\"$(head -c $((i * i * 4 + 1)) /dev/zero | tr '\0' 'x')\"}"
done | jrl-pack -o problems.jrl

# Zero mismatch: sampled token by token from a cache of pages, scored in one pass over the whole sequence.
# mismatch POLICY TEMPERATURE BATCH PREFILL
mismatch() {
    jrl-sample --policy "$1" --samples 3 --max-tokens 70 --entropies --temperature "$2" --batch "$3" --prefill-tokens "$4" problems.jrl |
        jrl-logprob --policy "$1" --as old --entropies --micro-tokens $(($3 * 50)) |
        jrl-view | jq -e -s 'length == 18 and all(.logprobs == .old_logprobs and .entropies == .old_entropies and (.logprobs["$f32"] | all(. < 0)))'
}
for shape in llama:f32 llama:bf16 qwen2:f32 qwen2:bf16; do
    jrl-model make -o "${shape/:/-}" --arch "${shape%:*}" --dtype "${shape#*:}" --shape dim=96,layers=2,heads=6,kv-heads=2,mlp=160,positions=512 > /dev/null || exit 1
    for batch in 1 3 64; do
        for prefill in 7 512; do
            ok "no mismatch: $shape, batch $batch, $prefill prompt tokens a step" mismatch "${shape/:/-}" 1 "$batch" "$prefill"
        done
    done
done
ok 'no mismatch at temperature 0.6' mismatch llama-bf16 0.6 64 512
ok 'no mismatch where bf16 weights are computed with in f32' bash -c 'jrl-sample --policy llama-bf16 --dtype f32 --samples 2 --max-tokens 30 problems.jrl |
    jrl-logprob --policy llama-bf16 --dtype f32 --as old | jrl-view | jq -e -s "length == 12 and all(.logprobs == .old_logprobs)"'
plain() { JRL_DISABLE=amx,avx512,avx2 jrl-logprob --policy llama-bf16 --as old "$@"; }
jrl-sample --policy llama-bf16 --samples 3 --max-tokens 30 problems.jrl -o rollouts.jrl
ok 'nor between the plain loops and the vector units' bash -c 'jq -e -s "length == 18 and all(.logprobs == .old_logprobs)"' < <(plain rollouts.jrl | jrl-view)
jrl-sample --policy llama-bf16 --greedy --max-tokens 30 problems.jrl -o greedy.jrl
ok 'greedy rollouts are scored at temperature 1' jq -e -s 'length > 0 and all(.logprobs == .old_logprobs)' <(jrl-logprob --policy llama-bf16 --as old greedy.jrl | jrl-view)

# The tool.
jrl-logprob --policy qwen2-bf16 --as ref rollouts.jrl -o ref.jrl
ok 'another policy, other logprobs' jq -e -s 'length > 0 and all(.logprobs != .ref_logprobs and (.ref_logprobs["$f32"] | length) == (.tokens["$u32"] | length))' <(jrl-view ref.jrl)
ok 'other fields are kept' cmp <(jrl-view rollouts.jrl | jq -c .) <(jrl-view ref.jrl | jq -c 'del(.ref_logprobs)')
ok 'no entropies unless asked for' jq -e -s 'length > 0 and all(has("ref_entropies") | not)' <(jrl-view ref.jrl)
same_records() { cmp <(jrl-view ref.jrl) <(jrl-logprob --policy qwen2-bf16 --as ref "$@" rollouts.jrl | jrl-view); }
ok 'one rollout at a time' same_records --micro-tokens 1
ok 'some at a time' same_records --micro-tokens 100
JRL_THREADS=2 ok 'one thread, two threads' same_records
for t in 1 0.5 1; do jrl-sample --policy llama-bf16 --max-tokens 10 --temperature "$t" problems.jrl; done > mixed.jrl
ok 'each at its own temperature' jq -e -s 'length == 18 and all(.logprobs == .old_logprobs)' <(jrl-logprob --policy llama-bf16 --as old mixed.jrl | jrl-view)
jrl-batch --batch-size 4 --steps 3 problems.jrl | jrl-sample --policy llama-bf16 --samples 2 --max-tokens 5 -o batched.jrl
ok 'boundaries keep their places' cmp <(jrl-view --header batched.jrl | jq -c 'select(.jrl != "header" and .jrl != "end") | [.k, .draw, .sample]') <(
    jrl-logprob --policy llama-bf16 --as old batched.jrl | jrl-view --header | jq -c 'select(.jrl != "header" and .jrl != "end") | [.k, .draw, .sample]')
ok 'an empty response has no logprobs' jq -e '.old_logprobs == {"$f32": []}' <(
    echo '{"uid":1,"temperature":1.0,"prompt_tokens":{"$u32":[1]},"tokens":{"$u32":[]}}' | jrl-pack | jrl-logprob --policy llama-bf16 --as old | jrl-view)

# What is refused.
bad() { echo "$1" | jrl-pack | jrl-logprob --policy llama-bf16 --as old -o no.jrl; }
ok 'no tokens' fails_with 3 "record 1: field 'tokens' is missing" bad '{"uid":1,"temperature":1.0,"prompt_tokens":{"$u32":[1]}}'
ok 'no prompt' fails_with 3 "'prompt_tokens' is empty" bad '{"uid":1,"temperature":1.0,"prompt_tokens":{"$u32":[]},"tokens":{"$u32":[1]}}'
ok 'no temperature' fails_with 3 "'temperature' is missing; rollouts are expected" bad '{"uid":1,"prompt_tokens":{"$u32":[1]},"tokens":{"$u32":[1]}}'
ok 'a temperature of 0' fails_with 3 "'temperature' is not a positive" bad '{"uid":1,"temperature":0.0,"prompt_tokens":{"$u32":[1]},"tokens":{"$u32":[1]}}'
ok 'a token without an embedding row' fails_with 3 "'tokens': token id 259 has no embedding row" bad '{"uid":1,"temperature":1.0,"prompt_tokens":{"$u32":[1]},"tokens":{"$u32":[1,259]}}'
long() { printf '{"uid":1,"temperature":1.0,"prompt_tokens":{"$u32":[1]},"tokens":{"$u32":[1'; printf ',2%.0s' {1..600}; printf ']}}\n'; }
ok 'more tokens than positions' fails_with 3 'more than the 512 positions' bad "$(long)"
# element POLICY HEX: the last weight of a copy of the policy becomes this bf16 value
element() {
    rm -rf broken && cp -r "$1" broken && rm -f broken/state.json
    printf '%b' "\\x${2:2:2}\\x${2:0:2}" | dd of=broken/model.safetensors conv=notrunc bs=1 seek=$(($(stat -c %s "$1/model.safetensors") - 2)) 2> /dev/null
}
for value in 7fc0 ff81 7f80 ff80; do
    element llama-bf16 "$value"
    ok "a weight of bits $value" fails_with 3 "tensor '.*' holds NaN or infinite values" jrl-logprob --policy broken --as old rollouts.jrl -o no.jrl
done
element llama-bf16 3f80
ok 'another finite weight is none of these' jrl-logprob --policy broken --as old -o /dev/null --force rollouts.jrl
# Finite weights whose logits are beyond f32.
jrl-model make -q -o large --dtype f32 --shape dim=96,layers=2,heads=6,kv-heads=2,mlp=160,positions=512,tied=0
/usr/bin/python3 - <<'END'
import array, json, struct
data = bytearray(open("large/model.safetensors", "rb").read())
n = struct.unpack("<Q", data[:8])[0]
begin, end = (8 + n + at for at in json.loads(data[8:8 + n])["lm_head.weight"]["data_offsets"])
weights = array.array("f", data[begin:end])
largest = max(map(abs, weights))
data[begin:end] = array.array("f", [w / largest * 3.3e38 for w in weights]).tobytes()
open("large/model.safetensors", "wb").write(data)
END
rm large/state.json
ok 'weights that are too large' fails_with 3 "the logprob of token [0-9]+ of a rollout with uid 0 is not finite: the weights of 'large' are damaged or too large" \
    jrl-logprob --policy large --as old rollouts.jrl -o no.jrl
ok '... nor are they sampled from' fails_with 3 'are not finite: the policy.s weights are damaged or too large' jrl-sample --policy large --max-tokens 5 -o no.jrl problems.jrl
ok 'nothing was left behind by these' test ! -e no.jrl
ok 'a name that is none' fails_with 2 'is not a name' jrl-logprob --policy llama-bf16 --as 'Old one' rollouts.jrl
ok 'no name' fails_with 2 '--as is needed' jrl-logprob --policy llama-bf16 rollouts.jrl
ok 'no policy' fails_with 2 '--policy is needed' jrl-logprob --as old rollouts.jrl
head -c 2000 rollouts.jrl > cut.jrl
ok 'a cut input' fails_with 3 'cut.jrl. is cut' jrl-logprob --policy llama-bf16 --as old cut.jrl -o no.jrl
ok '... leaves nothing behind' test ! -e no.jrl
ok 'a full disk' fails_with 1 'No space left' jrl-logprob --policy llama-bf16 --as old rollouts.jrl -o /dev/full
done_testing
