#!/usr/bin/env bash
# jrl-update: bad input is refused by name and leaves nothing behind; signals end it as the page says.
# shellcheck disable=SC2016 # dollars of jq and of inner shells
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"
# shellcheck source=tests/batch.sh
. "$JRL_TOP/tests/batch.sh"

small_policy p0
small_policy other --seed 5
batch p0 1 > b1.jrl
mkdir out
update() { jrl-update --policy p0 --out out/p1 -o /dev/null "$@"; }
nothing_left() { [ -z "$(ls -A out)" ] || { ls -lA out; return 1; }; }
# refused NAME CODE REGEX COMMAND...: and no file or folder stays behind
refused() {
    local name=$1
    shift
    ok "$name" fails_with "$@"
    ok "$name: nothing is left" nothing_left
}
ids() { echo "$(jrl-model hash p0).*$(jrl-model hash other)"; }

# The batch
refused 'a batch from another policy' 3 "record 1: sampled from policy $(ids)" jrl-update --policy other --out out/p1 b1.jrl
ok 'unless it is allowed' jrl-update --policy other --out allowed --allow-off-policy -o /dev/null b1.jrl
ok 'and counted' test "$(metric allowed .off_policy)" = 24
ok 'and its ratios are not 1' test "$(metric allowed '.ratio_first_max != 1')" = true
jrl-view --header b1.jrl > b1.json
pick() { jq -c "$1" b1.json | jrl-pack > "$2"; }
pick 'select(.jrl or .draw != 3 or .sample != 2)' group.jrl
refused 'a group of the wrong size' 3 'group|uid 4' update group.jrl
pick 'del(.advantage)' bare.jrl
refused 'no advantage' 3 "record 1: field 'advantage' is missing; jrl-advantage gives advantages" update bare.jrl
pick 'if .draw == 2 then .advantage = {"$num": "NaN"} else . end' nan.jrl
refused 'a NaN advantage' 3 "record 9: .*'advantage'.* not finite" update nan.jrl
pick 'if .draw == 4 then .temperature = 0.5 else . end' mixed.jrl
refused 'two temperatures' 3 "record 17: field 'temperature' is 0.5, but the batch began with 1" update mixed.jrl
pick 'if .draw == 1 and .sample == 3 then .logprobs["$f32"][0] = "NaN" else . end' nanlogprob.jrl
refused 'a NaN logprob' 3 "record 8: .*'logprobs'" update nanlogprob.jrl
pick 'if .draw == 1 and .sample == 3 then .logprobs["$f32"] |= .[1:] else . end' short.jrl
refused 'too few logprobs' 3 "record 8: field 'logprobs' holds 23 values for 24 tokens|record 8: field 'logprobs' holds" update short.jrl
pick 'if .jrl then . else .tokens["$u32"][2] = 400 end' vocab.jrl
refused 'a token without a row' 3 'record 1: token 400 .* no row' update vocab.jrl
pick 'if .jrl then . else .prompt_tokens["$u32"] = [range(250)] end' long.jrl
refused 'a sequence beyond the last position' 3 'record 1: .* 256 positions' update long.jrl
pick 'if .jrl then . else .tokens["$u32"] = [] end' empty.jrl
refused 'an empty response' 3 "record 1: field 'tokens' holds no token" update empty.jrl
refused 'a reference that is not there' 3 "record 1: field 'ref_logprobs' is missing" update --kl-coef 0.1 b1.jrl
refused 'another step than asked for' 3 "record 1: field 'step' is 1, but this is step 7" update --step 7 b1.jrl
{ cat b1.json; batch p0 2 | jrl-view --header | sed 1d; } > two.json
jrl-pack two.json > two.jrl
refused 'a second batch' 3 'record 25: a second batch begins' update two.jrl
jq -c 'select(.jrl)' b1.json | jrl-pack > none.jrl
refused 'a batch without rollouts' 3 'holds no rollouts' update none.jrl

# A tokenizer of another model
cp -r "$JRL_TOP/tests/golden/model/llama-untied" strange && cp p0/tokenizer*.json strange
echo '{"uid":1,"prompt":"1+1","text":"2"}' | jrl-pack --kind rollout > text.jrl
refused 'text for a policy whose tokenizer has ids beyond its rows' 3 "tokenizer of 'strange' has ids up to 258, but the model has only 160 rows" \
    jrl-update --objective nll --policy strange --out out/p1 text.jrl

# The stream
refused 'empty input' 3 'empty' update < /dev/null
refused 'foreign input' 3 'standard input' update < p0/config.json
for part in 200 2000 $(($(stat -c %s b1.jrl) - 1)); do
    refused "a stream cut after $part bytes" 3 'standard input' update < <(head -c "$part" b1.jrl)
done
problems 1 6 | jrl-pack --kind problem > problems.jrl
refused 'problems instead of rollouts' 3 "record 1: field 'prompt_tokens' is missing; rollouts are expected" update problems.jrl

# The command line
refused 'no --out' 2 "'--out' is needed" jrl-update --policy p0 b1.jrl
refused 'no --policy' 2 "'--policy' is needed" jrl-update --out out/p1 b1.jrl
refused '--out that exists' 2 "'--out p0' exists" jrl-update --policy p0 --out p0 b1.jrl
refused 'a dual clip that cannot be' 2 'dual-clip' update --dual-clip 1 b1.jrl
refused 'ranks without verl-micro' 2 'verl-ranks' update --verl-ranks 4 b1.jrl
refused 'an advantage option with nll' 2 'clip-low' update --objective nll --clip-low 0.1 b1.jrl
refused 'a policy that is not there' 3 'nowhere' jrl-update --policy nowhere --out out/p1 b1.jrl

# The policy's state
jrl-update --policy p0 --out p1 -o /dev/null --lr 1e-3 --warmup 0 b1.jrl
refused 'a step that was made already' 3 'record 1: (sampled from|this is the batch of step 1)' jrl-update --policy p1 --out out/p2 b1.jrl
cp -r p1 foreign && cp p0/model.safetensors foreign/ && touch foreign/model.safetensors
refused 'optimiser state of other weights' 3 'optimizer/ of .foreign. belongs to policy' jrl-update --policy foreign --out out/p2 b1.jrl
cp -r p1 stateless && rm stateless/state.json
refused 'optimiser state without a step' 3 'state.json' jrl-update --policy stateless --out out/p2 b1.jrl
cp -r p1 cut && truncate -s 1000 cut/optimizer/m.safetensors
for key in step updates; do # to which one could not be added
    cp -r p1 late && sed -i "s/\"$key\": [0-9]*/\"$key\": 9223372036854775807/" late/state.json
    refused "a policy after the last of its ${key%s}s" 3 "late/state.json': '$key' is 9223372036854775807, not in 0..1000000000000000" \
        jrl-update --policy late --out out/p2 b1.jrl
    rm -r late
done
refused 'a batch of the last step' 3 "record 1: field 'step' is 9223372036854775807, not from 1 to" update <(jrl-view --header b1.jrl |
    sed 's/"step":1,/"step":9223372036854775807,/' | jrl-pack)
refused 'a cut moment' 3 'm.safetensors' jrl-update --policy cut --out out/p2 b1.jrl

# NaN and infinite weights
for value in '\xc0\x7f' '\x80\xff'; do
    rm -rf broken && cp -r p0 broken && rm broken/state.json
    printf '%b' "$value" | dd of=broken/model.safetensors conv=notrunc bs=1 seek=$(($(stat -c %s p0/model.safetensors) - 2)) 2> /dev/null
    refused "a weight of bytes $value" 3 "'broken': tensor '.*' holds NaN or infinite values" jrl-update --policy broken --allow-off-policy --out out/p1 b1.jrl
done

# The disk
ok 'metrics on a full disk' fails_with 1 "policy 'full' is whole.*'/dev/full'" jrl-update --policy p0 --out full --metrics /dev/full b1.jrl
ok 'the policy is whole' jrl-model info full
ok 'an output on a full disk' bash -c 'jrl-update --policy p0 --out full2 b1.jrl > /dev/full; test $? = 1'
if mkdir small && mount -t tmpfs -o size=300k tmpfs small 2> /dev/null; then
    ok 'a policy on a full disk' fails_with 1 'small' jrl-update --policy p0 --out small/p1 b1.jrl
    ok 'leaves nothing there' test -z "$(ls -A small)"
    mount -o remount,ro small
    ok 'a read-only folder, before anything is read' fails_with 1 "cannot make 'small/a/p1': folder 'small': Read-only" jrl-update --policy p0 --out small/a/p1 < /dev/null
    umount small
else
    skip 'a policy on a full disk' 'cannot mount a tmpfs here'
fi
# shellcheck disable=SC2016
ok 'a closed pipe' bash -c 'jrl-update --policy p0 --out pipe b1.jrl | true; test "${PIPESTATUS[0]}" = 141'

# Signals. The input stays open: up to the middle of the batch, or up to its boundary.
jrl-view --header b1.jrl | jrl-pack --compress none > plain.jrl
boundary=$(($(LC_ALL=C grep -abo $'\xa3jrl\xa3end' plain.jrl | cut -d: -f1) - 1))
has_read() { # PID BYTES: waits until it has read so much and reads no more
    local before=0 now
    while now=$(awk '/^rchar/ { print $2 }' "/proc/$1/io") && { [ "$now" -lt "$2" ] || [ "$now" -ne "$before" ]; }; do
        before=$now
        sleep 0.3
    done
}
stopped() { # SIGNALS BYTES: how jrl-update ends when they come at once after it has read so much
    local feeder status=0 signal
    mkfifo fifo
    { head -c "$2" plain.jrl; exec sleep 30; } > fifo 2> /dev/null &
    feeder=$!
    # a shell starts background jobs with INT ignored, and what the parent ignores stays ignored
    perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' jrl-update --policy p0 --out out/p1 --metrics stopped.jsonl --mini-batch 2 \
        --lr 1e-3 --warmup 0 < fifo &
    has_read $! "$2"
    for signal in STOP $1 CONT; do kill "-$signal" $!; done
    wait $! || status=$?
    kill "$feeder" 2> /dev/null
    rm fifo
    return "$status"
}
rm -f stopped.jsonl
ok 'TERM while a batch arrives' exits 143 stopped TERM $((boundary / 2))
ok 'abandons it' nothing_left
ok 'and its metrics' test ! -s stopped.jsonl
jrl-update --policy p0 --out whole --mini-batch 2 --lr 1e-3 --warmup 0 -o /dev/null b1.jrl
for signal in TERM:143 INT:130 USR1:138; do
    ok "${signal%:*} after the boundary" exits "${signal#*:}" stopped "${signal%:*}" "$boundary"
    ok 'completes the step' same whole/model.safetensors out/p1/model.safetensors
    ok 'and its metrics' test "$(jq .step stopped.jsonl)" = 1
    rm -rf out/p1 stopped.jsonl
done
both() { # whichever comes first
    stopped 'TERM INT' "$boundary"
    case $? in 130 | 143) ;; *) return 1 ;; esac
}
# Slurm signals every process of a job, and the driver passes it on.
ok 'two signals at once' both
ok 'complete it, too' same whole/model.safetensors out/p1/model.safetensors
done_testing
