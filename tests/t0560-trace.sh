#!/usr/bin/env bash
# What people see while a run goes on: traces in Chrome's format, seconds by phase, progress on a terminal.
# shellcheck shell=bash disable=SC2016
. "$(dirname "$0")/tap.sh"
# shellcheck source=tests/batch.sh
. "$JRL_TOP/tests/batch.sh"

jrl-model make -o policy --dtype bf16 --shape dim=64,layers=2,heads=4,kv-heads=2,mlp=96,positions=512 > /dev/null || exit 1
for i in 0 1 2 3; do echo "{\"uid\":$i,\"prompt\":\"$(head -c $((i * 30 + 1)) /dev/zero | tr '\0' 'q')\"}"; done | jrl-pack -o problems.jrl
sample=(jrl-sample --policy policy --samples 16 --max-tokens 300)

now_us() { echo "${EPOCHREALTIME/./}"; }
phases() { jq -c '[.[] | select(.ph == "X" and .tid == 1)]' "$1"; }
timed() { # COMMAND: leaves the microseconds it took in the file wall
    local from
    from=$(now_us)
    "$@" || return 1
    echo $(($(now_us) - from)) > wall
}
# Phases follow one another from 0 without gaps, and last as long as the run, without the start of the process.
phases_add_up() { # TRACE
    phases "$1" | jq -e --argjson wall "$(cat wall)" '(map(.dur) | add) as $sum | (.[-1].ts + .[-1].dur) as $last |
        if .[0].ts < 1 and ([range(1; length) as $i | .[$i].ts - .[$i - 1].ts - .[$i - 1].dur | fabs] | all(. < 1))
            and $last - $sum < 1000 and $sum <= $wall and $sum >= $wall * 0.8 - 50000
        then true else {$sum, $last, $wall} | halt_error end'
}
parts_lie_inside() { # TRACE PHASE PART...: and take most of it
    local trace=$1 phase=$2
    shift 2
    jq -e --arg phase "$phase" --argjson parts "$(printf '%s\n' "$@" | jq -R . | jq -s .)" '
        ([.[] | select(.ph == "X" and .tid == 1 and .name == $phase) | .dur] | add) as $whole |
        ([.[] | select(.ph == "X" and .tid == 2 and (.name | IN($parts[]))) | .dur] | add) as $sum |
        if $sum <= $whole and $sum >= $whole * 0.7 then true else {$sum, $whole} | halt_error end' "$trace"
}
names() { jq -r --argjson tid "$2" '[.[] | select(.ph == "X" and .tid == $tid) | .name] | unique | join(" ")' "$1"; }

# jrl-sample
ok 'jrl-sample --trace' timed "${sample[@]}" --trace sample.json -o traced.jrl problems.jrl
ok 'is a JSON array of complete events, with names of tracks' jq -e 'type == "array" and all(.name and .pid == 1 and .tid) and
    all(.ph == "M" or (.ph == "X" and .ts >= 0 and .dur >= 0)) and any(.ph == "M" and .name == "thread_name")' sample.json
ok 'phases' test "$(names sample.json 1)" = 'end read start step write'
ok 'parts' test "$(names sample.json 2)" = 'choose decode prefill'
ok 'phases add up to the time of the run' phases_add_up sample.json
ok 'parts add up to the steps' parts_lie_inside sample.json step prefill decode choose
ok 'tokens chosen are those of the records' test "$(jq '[.[] | select(.name == "choose") | .args.tokens] | add' sample.json)" = \
    "$(jrl-view traced.jrl | jq -s 'map(.tokens["$u32"] | length) | add')"
ok 'the records are the same without' cmp <(jrl-view traced.jrl) <("${sample[@]}" problems.jrl | jrl-view)
ok 'a trace on a full disk' fails_with 1 "cannot write '/dev/full'" "${sample[@]}" --trace /dev/full -o no.jrl problems.jrl
ok '... leaves no output' test ! -e no.jrl
ok 'a trace that cannot be opened' fails_with 1 "cannot open 'nowhere/trace.json'" "${sample[@]}" --trace nowhere/trace.json -o no.jrl problems.jrl
emptied_nothing() { # COMMAND...: refused for its -o, and the trace of an earlier run is as it was
    echo earlier > earlier.json && touch there && fails_with 2 "'there' exists; --force replaces it" "$@" --trace earlier.json -o there && [ "$(cat earlier.json)" = earlier ]
}
printf '{question} {answer} {response}' > prompt.txt
ok 'an output that exists is refused before a trace is begun' emptied_nothing "${sample[@]}" problems.jrl
ok '... by jrl-judge' emptied_nothing jrl-judge --policy policy --prompt prompt.txt traced.jrl
ok '... and before a policy is opened' fails_with 2 "'there' exists" jrl-logprob --policy nowhere --as old -o there traced.jrl
ok '... but --plan writes nothing and refuses nothing' "${sample[@]}" --plan -o there problems.jrl

# jrl-update
small_policy p0 --shape dim=64,layers=4,heads=4,kv-heads=2,mlp=256,positions=256 && batch p0 1 --max-tokens 200 > b.jrl
update=(jrl-update --lr 1e-3 --warmup 0 --mini-batch 2 --policy p0)
ok 'an output that exists is refused before a trace is begun' emptied_nothing "${update[@]}" --out no b.jrl
ok 'jrl-update --trace' timed "${update[@]}" --recompute-old --micro-tokens 300 --out traced --trace update.json -o m.jsonl b.jrl
ok 'phases' test "$(names update.json 1)" = 'check end optimiser read start train write'
ok 'parts' test "$(names update.json 2)" = 'backward forward head'
ok 'phases add up to the time of the run' phases_add_up update.json
"${update[@]}" --micro-tokens 300 --out plain --trace plain.json -o plain.jsonl b.jrl
ok 'parts add up to training' parts_lie_inside plain.json train forward head backward
ok 'the weights are the same with it' same traced/model.safetensors plain/model.safetensors
ok 'seconds of the metrics: the parts of training' jq -e '.seconds | .forward > 0 and .head > 0 and .backward > 0 and
    ((.forward + .head + .backward) as $sum | $sum <= .train and $sum >= .train * 0.7)' plain.jsonl
ok 'seconds of the metrics: the whole' jq -e '.seconds | .check > 0 and ((.read + .check + .train + .optimizer + .write) as $sum |
    $sum <= .total * 1.001 and $sum >= .total * 0.3)' m.jsonl
ok 'a trace on a full disk' fails_with 1 "policy 'full' is whole, but its trace is not: cannot write '/dev/full'" "${update[@]}" --out full --trace /dev/full \
    -o /dev/null b.jrl

# Progress on a terminal: standard error is one, in the foreground.
if /usr/bin/python3 -c 'import pty' 2> /dev/null; then
    on_terminal() { /usr/bin/python3 -c 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)' "$@" < /dev/null; }
    # JRL_DISABLE: slow enough to be seen
    ok 'jrl-sample runs on a terminal' bash -c "$(declare -f on_terminal); JRL_DISABLE=amx,avx512 on_terminal jrl-sample --policy policy --samples 60 \
        --max-tokens 400 --batch 32 -o long.jrl problems.jrl > sample.screen"
    ok '... its progress' grep -Eaq '[0-9]+ running, [0-9]+ waiting, [0-9]+ done, [0-9]+ tokens/s, cache [0-9]+ %, longest [0-9]+, about [0-9]+:[0-9]+ left' sample.screen
    ok '... is erased at the end' bash -c 'tail -c 5 sample.screen | od -c | grep -q "033   \[   K"'
    ok '... is not shown when not wanted' bash -c "$(declare -f on_terminal); on_terminal jrl-sample --no-progress --policy policy --samples 60 \
        --max-tokens 400 --batch 32 -o quiet.jrl problems.jrl > quiet.screen; test ! -s quiet.screen"
    batch p0 1 --samples 30 --max-tokens 200 > many.jrl
    ok 'jrl-update runs on a terminal' bash -c "$(declare -f on_terminal); JRL_DISABLE=amx,avx512 on_terminal jrl-update --policy p0 --out seen --micro-tokens 300 \
        -o /dev/null many.jrl > update.screen"
    ok '... its progress' grep -Eaq 'step 1: [0-9]+ rollouts, update 1: [0-9]+ % of [0-9]+ tokens, longest [0-9]+, [0-9]+ tokens/s, [0-9]+:[0-9]+ left' update.screen
else
    skip 'progress on a terminal' 'no /usr/bin/python3 to make one'
fi
done_testing
