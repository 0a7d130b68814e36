#!/usr/bin/env bash
# The memory plan: --plan does nothing else, what does not fit is refused before work starts, what runs takes what was
# planned, and a small memory changes no record.
# shellcheck shell=bash disable=SC2016
. "$(dirname "$0")/tap.sh"
# shellcheck source=tests/batch.sh
. "$JRL_TOP/tests/batch.sh"

jrl-model make -o policy --dtype bf16 --shape dim=64,layers=2,heads=4,kv-heads=2,mlp=96,positions=512 > /dev/null || exit 1
for i in 0 1 2 3 4 5; do
    echo "{\"uid\":$((10 + i)),\"prompt\":\"$(head -c $((i * 9 + 1)) /dev/zero | tr '\0' 'q')\"}"
done | jrl-pack -o problems.jrl
total() { awk '$1 == "total" { print $2 }'; }
planned() { "$@" --plan | total; } # COMMAND: its bytes

# --plan
ok 'jrl-sample --plan' bash -c 'jrl-sample --policy policy --plan > plan.txt < /dev/null'
for item in 'weights, mapped' 'keys and values' 'activations of a layer' 'logits' 'total'; do
    ok "... has $item" grep -Eq "^$item +[0-9 ]*[1-9][0-9]* " plan.txt
done
sums_up() { awk '/^total/ { exit sum != $2 } { for (i = NF - 2; i <= NF - 2; i++) sum += $i }' "$1"; }
ok '... sums up' sums_up plan.txt
ok '... is per token where it depends on them: K and V of two layers, two heads of 16, bf16' \
    grep -Eq '^keys and values +256 +[1-9][0-9]* ' plan.txt
ok 'jrl-logprob --plan' bash -c 'jrl-logprob --policy policy --as old --plan > plan.txt < /dev/null'
ok '... sums up' sums_up plan.txt
ok 'jrl-update --plan' bash -c 'jrl-update --recompute layer --policy policy --out new --metrics m.jsonl --plan > plan.txt < /dev/null'
ok '... sums up' sums_up plan.txt
for item in 'weights in training' gradients optimiser 'kept layer inputs'; do
    ok "... has $item" grep -Eq "^$item +[0-9 ]*[1-9][0-9]* " plan.txt
done
ok '... and does nothing' test ! -e new -a ! -e m.jsonl
# 3 x 4 bytes a parameter, each tensor filled up to 32 elements: all of this model's are
ok 'the optimiser is 12 bytes a parameter' test "$(awk '$1 == "optimiser" { print $2 }' plan.txt)" = \
    $((12 * $(jrl-model info --json policy | jq .parameters)))
ok 'a full disk' fails_with 1 'cannot write' bash -c 'jrl-sample --policy policy --plan > /dev/full'

# What is refused, with the number missing and what would help.
sample=(jrl-sample --policy policy --max-tokens 250 --max-prompt-tokens 200 --samples 16 --batch 256)
least=$("${sample[@]}" --plan --memory 100K 2> /dev/null | total) # with the cache of one sequence
ok 'no room for one sequence' fails_with 2 "takes $least bytes of memory, 7 more than the $((least - 7)) it may use: --batch [0-9]+ fits" \
    "${sample[@]}" --memory $((least - 7)) problems.jrl
help_fits() { # COMMAND...: refused, and what the message proposes is not
    local option
    option=$("$@" --plan 2>&1 > /dev/null | grep -Eo -- '--[a-z-]+ [0-9]+ fits' | grep -Eo -- '--[a-z-]+ [0-9]+')
    [ -n "$option" ] || return 1
    # shellcheck disable=SC2086 # two words
    "$@" $option --plan
}
ok '... which helps' help_fits "${sample[@]}" --memory $((least - 7))
least_alone=$("${sample[@]}" --batch 1 --plan --memory 100K 2> /dev/null | total)
ok 'no room for one alone' fails_with 2 'no room for one sequence of full length; --max-tokens [0-9]+ fits' "${sample[@]}" --batch 1 \
    --memory $((least_alone - 7)) problems.jrl
ok '... which helps' help_fits "${sample[@]}" --batch 1 --memory $((least_alone - 7))
ok 'no memory at all' fails_with 2 'even one short response does not fit' "${sample[@]}" --memory 100K problems.jrl
ok 'a step of too many prompt tokens' fails_with 2 'it may use: --prefill-tokens [0-9]+ fits' "${sample[@]}" --prefill-tokens 1000000000 problems.jrl
ok '... which helps' help_fits "${sample[@]}" --prefill-tokens 1000000000
ok 'an update that does not fit' fails_with 2 '[0-9]+ more than the 20971520 it may use: --micro-tokens [0-9]+ fits' \
    jrl-update --policy policy --out new --memory 20M problems.jrl
ok '... what is proposed does' help_fits jrl-update --policy policy --out new --memory 20M
ok 'an update whose weights do not fit' fails_with 2 'more --memory or a smaller policy' jrl-update --policy policy --out new --memory 1M problems.jrl
ok 'a scoring that does not fit' fails_with 2 'it may use: --micro-tokens [0-9]+ fits' jrl-logprob --policy policy --as old --memory 8M problems.jrl
ok '... what is proposed does' help_fits jrl-logprob --policy policy --as old --memory 8M
ok 'nothing was left behind' test ! -e new
ok 'an amount that is none' fails_with 2 "option '--memory': '1x' is not a size" jrl-sample --policy policy --memory 1x problems.jrl
ok 'an amount of nothing' fails_with 2 "option '--memory': '0' is not a size" jrl-sample --policy policy --memory 0 problems.jrl
same_size() { [ "$(planned jrl-sample --policy policy --memory "$1")" = "$(planned jrl-sample --policy policy --memory "$2")" ]; }
for pair in 16384K:16M 16MiB:16777216B 0.5G:512M 1T:1024G; do ok "$pair are equal" same_size "${pair%:*}" "${pair#*:}"; done

# The cache follows the memory, and the records do not.
"${sample[@]}" problems.jrl -o all.jrl
ok 'the least that does' "${sample[@]}" --memory "$least" -v -o least.jrl problems.jrl
ok '... a byte less does not' exits 2 "${sample[@]}" --memory $((least - 1)) problems.jrl
"${sample[@]}" --memory "$least" -v problems.jrl 2> log > /dev/null
ok '... sets responses back' grep -Eq '[1-9][0-9]* preempted' log
ok '... gives the same records' cmp <(jrl-view all.jrl) <(jrl-view least.jrl)
ok 'half as much again' cmp <(jrl-view all.jrl) <("${sample[@]}" --memory $((least * 3 / 2)) problems.jrl | jrl-view)
ok 'rollouts are scored alike in little memory' cmp <(jrl-logprob --policy policy --as old all.jrl | jrl-view) <(
    jrl-logprob --policy policy --as old --micro-tokens 64 --memory 12M all.jrl | jrl-view)
pack_long() { printf '{"uid":1,"temperature":1.0,"prompt_tokens":{"$u32":[1]},"tokens":{"$u32":[1'; printf ',2%.0s' {1..500}; printf ']}}\n'; }
pack_long | jrl-pack -o long.jrl
ok 'a rollout longer than the memory allows' fails_with 2 'record 1: .* 502 tokens, the memory is enough for [0-9]+' \
    jrl-logprob --policy policy --as old --micro-tokens 32 --memory "$(planned jrl-logprob --policy policy --as old --micro-tokens 256)" long.jrl

# What is taken: the peak of the process, against its plan, with a model whose weights and activations weigh more than the program.
peak() { # COMMAND: the most bytes it held
    /usr/bin/python3 -c 'import resource, subprocess, sys
if subprocess.run(sys.argv[1:]).returncode:
    sys.exit(1)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)' "$@"
}
within() { # PER CENT, COMMAND
    local per_cent=$1 plan used
    shift
    plan=$(planned "$@") && used=$(peak "$@") || return 1
    echo "planned $plan, used $used"
    [ $((used * 100)) -le $((plan * (100 + per_cent))) ] && [ $((used * 100)) -ge $((plan * (100 - per_cent))) ]
}
if [[ $JRL_BUILD == */asan ]]; then
    skip 'peak memory' 'the sanitizer takes memory of its own'
elif /usr/bin/python3 -c '' 2> /dev/null; then
    jrl-model make -o middle --dtype bf16 --shape dim=384,layers=6,heads=6,kv-heads=2,mlp=1024,positions=512,vocab=8192 > /dev/null
    for sample in 0 1 2 3; do
        printf '{"uid":1,"draw":0,"step":1,"sample":%d,"samples":4,"prompt_tokens":{"$u32":[5]},"tokens":{"$u32":[%s7]},"logprobs":{"$f32":[%s-9]}' \
            "$sample" "$(printf "%d," {1..510})" "$(printf -- '-9.%d,' {1..510})"
        printf ',"policy":"x","temperature":1.0,"advantage":%d}\n' $((sample % 2 * 2 - 1))
    done | jrl-pack --kind rollout -o middle.jrl
    for micro in 1024 2048; do
        for dtype in bf16 f32; do
            for how in none mlp layer; do
                ok "jrl-update --micro-tokens $micro --recompute $how, $dtype: peak within 10 % of the plan" within 10 jrl-update --policy middle \
                    --out "new-$micro-$dtype-$how" --allow-off-policy --micro-tokens "$micro" --dtype "$dtype" --recompute "$how" -o /dev/null middle.jrl
            done
            for how in mlp layer; do
                ok "... the same weights, $how" same "new-$micro-$dtype-none/model.safetensors" "new-$micro-$dtype-$how/model.safetensors"
                ok '... the same moments' same "new-$micro-$dtype-none/optimizer/v.safetensors" "new-$micro-$dtype-$how/optimizer/v.safetensors"
            done
        done
    done
    ok 'an update that goes on from optimiser state' within 10 jrl-update --policy new-2048-bf16-none --out again --allow-off-policy \
        --step 2 --micro-tokens 2048 -o /dev/null middle.jrl
    plan=(jrl-update --policy middle --out none --micro-tokens 2048)
    layer=$(planned "${plan[@]}" --recompute layer) mlp=$(planned "${plan[@]}" --recompute mlp) none=$(planned "${plan[@]}" --recompute none)
    ok 'gate and up are 8 bytes a column, row and layer' test $((none - mlp)) = $((2048 * 6 * 1024 * 8))
    ok 'activations are kept when they fit' test "$(planned "${plan[@]}" --memory "$none")" = "$none"
    ok '... else without gate and up' test "$(planned "${plan[@]}" --memory $((none - 1)))" = "$mlp"
    ok '... else computed again' test "$(planned "${plan[@]}" --memory $((mlp - 1)))" = "$layer"
    ok '... unless asked for' fails_with 2 'may use: --recompute mlp fits' "${plan[@]}" --recompute none --memory $((none - 1)) middle.jrl
    ok '... the first that fits' fails_with 2 'may use: --recompute layer fits' "${plan[@]}" --recompute none --memory $((mlp - 1)) middle.jrl
    ok '... of what is left' fails_with 2 'may use: --recompute layer fits' "${plan[@]}" --recompute mlp --memory $((mlp - 1)) middle.jrl
    ok '... or smaller passes' fails_with 2 'may use: --micro-tokens [0-9]+ fits' "${plan[@]}" --recompute none --memory $((layer - 1)) middle.jrl
    ok '... which help' help_fits "${plan[@]}" --recompute none --memory $((layer - 1))
    little=$(planned jrl-update --policy middle --out none --micro-tokens 512 --recompute layer)
    stays_below() { # BYTES COMMAND, and a tenth
        local used
        used=$(peak "${@:2}") || return 1
        echo "allowed $1, used $used"
        [ "$used" -le $(($1 * 11 / 10)) ]
    }
    ok 'a rollout too long to keep its activations computes them again' stays_below "$little" jrl-update --policy middle --out long \
        --allow-off-policy --micro-tokens 32 --memory "$little" -o /dev/null middle.jrl
    ok '... the same weights' same long/model.safetensors new-2048-bf16-none/model.safetensors
    # Memory does not grow with the stream.
    for i in {1..40}; do cat all.jrl; done > forty.jrl
    for i in {1..12}; do cat problems.jrl; done > dozen.jrl
    grows() { # BYTES COMMAND SHORT LONG: more than these
        local allowed=$1 long=${*: -1} short=${*: -2:1} a b
        a=$(peak "${@:2:$# - 3}" "$short") && b=$(peak "${@:2:$# - 3}" "$long") || return 1
        echo "$a, $b"
        [ $((b - a)) -le "$allowed" ]
    }
    ok 'jrl-logprob: 40 times the stream, the same memory' grows 3000000 jrl-logprob --policy policy --as old --micro-tokens 1024 -o /dev/null all.jrl forty.jrl
    ok 'jrl-sample: 12 times the stream, the same memory' grows 3000000 jrl-sample --policy policy --max-tokens 100 --samples 8 --batch 16 -o /dev/null \
        problems.jrl dozen.jrl
else
    skip 'peak memory' 'no /usr/bin/python3 to measure it with'
fi
done_testing
