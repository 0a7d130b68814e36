# jrl-sample: what a rollout holds, that nothing but its inputs changes it, order and boundaries, resuming, and what it
# refuses.
# shellcheck shell=bash disable=SC2016
. "$(dirname "$0")/tap.sh"

jrl-model make -o policy --dtype bf16 --shape dim=64,layers=2,heads=4,kv-heads=2,mlp=96,positions=512 > /dev/null || exit 1
letters=()
for c in {a..h}; do letters+=(--stop "$c"); done # so that random responses end

problem() { # N LENGTH: a prompt of that many letters
    echo "{\"uid\":$((7000 + $1)),\"source\":\"s\",\"problem\":\"p$1\",\"prompt\":\"$(head -c "$2" /dev/zero | tr '\0' 'q')\",\"answer\":\"$1\"}"
}
lengths=(1 40 3 100 64 17 33 5 90)
for i in "${!lengths[@]}"; do problem "$i" "${lengths[i]}"; done | jrl-pack -o problems.jrl
sample() { jrl-sample --policy policy --max-tokens 20 "${letters[@]}" "$@"; }

sample --samples 3 --entropies problems.jrl -o all.jrl
jrl-view all.jrl > all.jsonl
ok 'three rollouts of each problem, in order' test "$(jq -c '[.uid, .sample, .samples]' all.jsonl | tr -d '\n')" = "$(
    for i in {7000..7008}; do for j in 0 1 2; do printf '[%d,%d,3]' "$i" "$j"; done; done)"
ok 'fields of the problem are kept' jq -e -s 'length > 0 and all(.source == "s" and .problem == "p" + .answer)' all.jsonl
ok 'one logprob and entropy a token' jq -e -s 'length > 0 and all((.tokens["$u32"] | length) as $n | $n > 0 and $n <= 20 and (.logprobs["$f32"] | length) == $n
    and (.entropies["$f32"] | length) == $n)' all.jsonl
ok 'logprobs are of a distribution over 259 ids' jq -e -s '[.[].logprobs["$f32"][]] | all(. < 0) and (add / length | . > -7 and . < -4)' all.jsonl
ok 'the mean of the entropies' jq -e -s 'length > 0 and all((.entropy_mean["$f32"] - (.entropies["$f32"] | add / length)) | fabs < 1e-5)' all.jsonl
# letters 97..104 and the end token 258
ok 'a response ends at an end token or at 20' jq -e -s 'def stops: . == 258 or (. >= 97 and . <= 104);
    all(.tokens["$u32"] as $t | ($t[:-1] | all(stops | not)) and if .finish == "stop" then ($t[-1] | stops) else ($t | length) == 20 and ($t[-1] | stops | not) end)' all.jsonl
ok 'both ends occur' test "$(jq -r .finish all.jsonl | sort -u | tr '\n' ' ')" = 'length stop '
ok 'settings are recorded' jq -e -s 'length > 0 and all(.temperature == 1 and .top_p == 1 and .top_k == 0 and .seed == 0 and (has("greedy") | not))' all.jsonl
ok 'the policy is recorded' test "$(jq -r .policy all.jsonl | sort -u)" = "$(jrl-model hash policy | cut -d' ' -f1)"
ok 'the header says how' jq -e '.kind == "rollout" and (.sampling | test("samples=3.*seed=0")) and .prog[-1].policy' <(jrl-view --header all.jrl | head -n 1)
ok 'the prompt is the template around the text' jq -e -s '.[0].prompt_tokens["$u32"] == [257] + ("user\nq" | explode) + [258] + ("\n" | explode) + [257] + ("assistant\n" | explode)' all.jsonl
ok 'samples differ' jq -e -s '[.[:3][].text] | unique | length == 3' all.jsonl
# bytes to text, invalid ones as U+FFFD; special tokens dropped
ok 'text is the decoded response' /usr/bin/python3 -c '
import json, sys
for line in open("all.jsonl"):
    r = json.loads(line)
    assert bytes(t for t in r["tokens"]["$u32"] if t < 256).decode("utf-8", "replace") == r["text"], r["text"]'

# same NAME OPTIONS...: the same data records as all.jrl
same_records() { cmp all.jsonl <(sample --samples 3 --entropies "$@" problems.jrl | jrl-view); }
ok 'one response at a time' same_records --batch 1
ok 'three, prompts in small pieces' same_records --batch 3 --prefill-tokens 5
JRL_THREADS=2 ok 'a prompt token a step, two threads' same_records --prefill-tokens 1
long() { jrl-sample --policy policy --samples 16 --max-tokens 250 --batch 512 "$@" problems.jrl; }
long --memory 10M -v -o forgetful.jrl 2> forgetful.log
ok 'a cache that is too small for all' grep -Eq '[1-9][0-9]* preempted' forgetful.log
ok '... gives the same' cmp <(long | jrl-view) <(jrl-view forgetful.jrl)
ok 'the plain loops' env JRL_DISABLE=amx,avx512,avx2 jrl-sample --policy policy --max-tokens 20 "${letters[@]}" --samples 3 --entropies problems.jrl -o plain.jrl
ok '... give the same' cmp all.jsonl <(jrl-view plain.jrl)
ok 'fewer samples are the first of more' cmp <(jq -c 'select(.sample == 0) | .tokens' all.jsonl) <(sample problems.jrl | jrl-view | jq -c .tokens)
ok 'a problem alone gets the same answers' cmp <(jq -c 'select(.uid == 7004) | .tokens' all.jsonl) <(
    problem 4 64 | jrl-pack | sample --samples 3 | jrl-view | jq -c .tokens)
ok 'another seed, other answers' bash -c '! cmp -s "$@"' - <(jq -c .tokens all.jsonl) <(sample --samples 3 --seed 1 problems.jrl | jrl-view | jq -c .tokens)
ok 'compressed alike with --no-provenance' cmp <(sample --no-provenance problems.jrl) <(sample --no-provenance --batch 2 problems.jrl)

sample --greedy --samples 2 problems.jrl | jrl-view > greedy.jsonl
ok 'greedy: both samples are the same' jq -e -s 'group_by(.uid) | length > 0 and all(.[0].tokens == .[1].tokens)' greedy.jsonl
ok 'greedy is recorded, at temperature 1' jq -e -s 'length > 0 and all(.greedy == true and .temperature == 1)' greedy.jsonl
ok 'top-k 1 is greedy' cmp <(jq -c 'select(.sample == 0) | .tokens' greedy.jsonl) <(sample --top-k 1 problems.jrl | jrl-view | jq -c .tokens)
ok 'top-p of nearly nothing is greedy' cmp <(jq -c 'select(.sample == 0) | .tokens' greedy.jsonl) <(sample --top-p 1e-9 problems.jrl | jrl-view | jq -c .tokens)
ok 'temperature changes logprobs' jq -e -s '[.[].logprobs["$f32"][]] | min < -7 or max > -4' <(sample --temperature 0.05 problems.jrl | jrl-view)

# Boundaries and shards.
batches() { jrl-batch --batch-size 4 --steps 3 "$@" problems.jrl; }
batches | sample --samples 2 > batched.jrl
ok 'boundaries keep their places' test "$(jrl-view --header batched.jrl | jq -r 'if .jrl == "batch" then "\(.k):\(.records)" elif .jrl then empty else .draw end' | tr '\n' ' ')" = \
    '0 0 1 1 2 2 3 3 1:8 4 4 5 5 6 6 7 7 2:8 8 8 9 9 10 10 11 11 3:8 '
for i in 0 1; do
    batches --shard "$i/2" | sample --samples 2 > "shard$i.jrl"
    batches | sample --samples 2 --shard "$i/2" > "part$i.jrl"
done
ok 'shards of jrl-batch, merged' cmp <(jrl-view batched.jrl) <(jrl-cat --merge shard0.jrl shard1.jrl | jrl-view)
ok 'shards of jrl-sample, merged' cmp <(jrl-view batched.jrl) <(jrl-cat --merge part0.jrl part1.jrl | jrl-view)
ok 'segments are answered as segments' test "$(cat problems.jrl problems.jrl | sample | jrl-view --header | jq -r .jrl | grep -c header)" = 2

# A pipe whose writer waits for the answer before it goes on.
mkfifo fifo
sample --compress none < fifo > slow.out 2> slow.log &
slow=$!
exec 5> fifo
problem 0 1 | jrl-pack --compress none > one.raw
head -c -1 one.raw >&5 # all but the last byte of the end record
answered() { local i; for i in {1..100}; do grep -aq logprobs slow.out && return 0; sleep 0.1; done; echo "$i: no answer"; return 1; }
ok 'a group leaves while the input is still open' answered
exec 5>&-
wait "$slow"
ended=$?
ok "... and the input that then ends without an end record is cut" grep -q "is cut" slow.log
ok "... with its exit code" test "$ended" = 3

# Resuming.
resumed() { # BYTES
    head -c "$1" all.jrl > part.jrl
    cmp all.jsonl <(sample --samples 3 --entropies --resume part.jrl --batch 5 problems.jrl | jrl-view)
}
size=$(stat -c %s all.jrl)
sample --samples 3 --entropies --compress none problems.jrl > raw.jrl
raw_size=$(stat -c %s raw.jrl)
ok 'resumes from a half' resumed $((size / 2))
ok 'resumes from nearly all' resumed $((size - 5))
ok 'resumes from a whole output' resumed "$size"
resumed_raw() { head -c "$1" raw.jrl > part.jrl; cmp all.jsonl <(sample --samples 3 --entropies --resume part.jrl problems.jrl | jrl-view); }
for k in 1 2 3 4 5 6; do ok "resumes from $k sevenths, not compressed" resumed_raw $((raw_size * k / 7)); done
takes() { # the answers are taken, not made again
    /usr/bin/python3 - <<'PY'
data = open("raw.jrl", "rb").read()
open("part.jrl", "wb").write(data[: len(data) * 2 // 3].replace(b"\xa2p1", b"\xa2PX"))
PY
    sample --samples 3 --entropies --resume part.jrl problems.jrl | jrl-view | jq -r .problem | uniq | tr '\n' ' ' | grep -q '^p0 PX p2'
}
ok 'whole groups are taken as they are' takes
head -c $((size / 2)) all.jrl > part.jrl
ok 'not with another seed' fails_with 3 'made with seed=0, this run has seed=1' sample --samples 3 --entropies --seed 1 --resume part.jrl problems.jrl -o no.jrl
ok 'not with another number of samples' fails_with 3 'samples=3, this run has samples=2' sample --samples 2 --entropies --resume part.jrl problems.jrl -o no.jrl
jrl-model make -o other --dtype bf16 --seed 1 --shape dim=64,layers=2,heads=4,kv-heads=2,mlp=96,positions=512 > /dev/null
ok 'not with another policy' fails_with 3 'made with policy=' jrl-sample --policy other --samples 3 --resume part.jrl problems.jrl -o no.jrl
problem 55 3 | jrl-pack -o foreign.jrl
ok 'not with another input' fails_with 3 'group of uid 7000 is not the next' sample --samples 3 --entropies --resume part.jrl foreign.jrl -o no.jrl
ok 'not from problems' fails_with 3 "no 'sampling'" sample --resume problems.jrl problems.jrl -o no.jrl
ok 'nothing was left behind by these' test ! -e no.jrl
/usr/bin/python3 -c '
data = bytearray(open("raw.jrl", "rb").read())
at = data.rindex(b"logprobs") + 30
data[at] ^= 1
open("flipped.jrl", "wb").write(data)'
ok 'not from a damaged output' fails_with 3 'cannot resume: .*checksum' sample --samples 3 --entropies --resume flipped.jrl problems.jrl -o no.jrl

# What is refused.
problem 1 200 | jrl-pack -o long.jrl
cat long.jrl problems.jrl > mixed.jrl
ok 'a prompt that is too long' fails_with 4 "'long.jrl': record 1: the prompt has [0-9]+ tokens, --max-prompt-tokens is 150" sample --max-prompt-tokens 150 long.jrl -o no.jrl
ok 'no file is left' test ! -e no.jrl
ok 'a limit on such problems' test "$(sample --max-prompt-tokens 150 --max-rejected 1 -q mixed.jrl | jrl-view | wc -l)" = 9
ok 'lengths beyond the positions' fails_with 2 'do not fit into the 512 positions' jrl-sample --policy policy --max-tokens 400 --max-prompt-tokens 200 problems.jrl
ok 'a response beyond the positions' fails_with 2 "max-tokens 5000 leaves no room for a prompt in the 512 positions of 'policy'" jrl-sample --policy policy --max-tokens 5000 problems.jrl
ok 'rollouts are no problems' fails_with 3 'rollouts, which are answered already' sample all.jrl
ok '... nor are they behind problems' fails_with 3 'record 10: .*rollouts, which are answered already' sample <(cat problems.jrl all.jrl)
ok 'a problem without a prompt' fails_with 3 "record 1: field 'prompt' is missing" sample <(echo '{"uid":1}' | jrl-pack)
ok 'a stop token the tokenizer has not' fails_with 2 "no token '<end>'" jrl-sample --policy policy --stop '<end>' problems.jrl
ok 'greedy with a temperature' fails_with 2 'temperature has no effect with --greedy' sample --greedy --temperature 0.5 problems.jrl
ok 'no policy' fails_with 2 '--policy is needed' jrl-sample problems.jrl
ok 'a policy that is not there' fails_with 3 "nowhere/config.json" jrl-sample --policy nowhere problems.jrl
cp -r policy bare && rm bare/tokenizer.json
ok 'a policy without a tokenizer' fails_with 3 'bare/tokenizer.json' jrl-sample --policy bare problems.jrl
cp -r "$JRL_TOP/tests/golden/model/llama-untied" foreign && cp policy/tokenizer*.json foreign
cp -r policy plain && rm plain/tokenizer_config.json
ok 'a policy without a chat template: a warning' eval 'jrl-sample --policy plain --max-tokens 2 problems.jrl 2> err > out &&
    grep -q "warning: .plain. has no chat template: the model is asked the bare prompts; --template none" err'
ok '... not when that is meant' eval 'jrl-sample --policy plain --template none --max-tokens 2 problems.jrl 2> err > out && [ ! -s err ]'
ok 'a tokenizer with ids beyond the rows of the model' fails_with 3 "tokenizer of 'foreign' has ids up to 258, but the model has only 160 rows" jrl-sample --policy foreign problems.jrl
cp -r policy broken
printf '\xc0\x7f' | dd of=broken/model.safetensors conv=notrunc bs=1 seek=$(($(stat -c %s policy/model.safetensors) - 2)) 2> /dev/null
ok 'a NaN in the weights' fails_with 3 'not finite|NaN' jrl-sample --policy broken problems.jrl
# Groups that are done before an earlier one wait for it: read ahead is no more than --batch of them.
for i in {1..200}; do problem "$i" 3; done | jrl-pack -o many.jrl
at_a_time() { jrl-sample --policy policy --max-tokens 200 "${letters[@]}" -v --batch 4 many.jrl 2>&1 > /dev/null | sed -n 's/.*at most \([0-9]*\) problems at a time.*/\1/p'; }
ok 'at most --batch problems are held, also while one is long' test "$(at_a_time)" = 4
ok 'a full disk' fails_with 1 'No space left' sample problems.jrl -o /dev/full
gone() { timeout 30 jrl-sample --policy policy --samples 3000 --max-tokens 450 problems.jrl | true; [ "${PIPESTATUS[0]}" = 141 ]; }
ok 'a reader that goes ends the work at once' gone
done_testing
