#!/usr/bin/env bash
# jrl-update killed at a file operation: its policy is whole or absent, and the next attempt gives the same bits.
# `all` as argument tries every operation (make check-slow), otherwise a handful.
# shellcheck disable=SC2016 # dollars of inner shells
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"
# shellcheck source=tests/batch.sh
. "$JRL_TOP/tests/batch.sh"
# shellcheck source=tests/kill.sh
. "$JRL_TOP/tests/kill.sh"

if ! have_faults; then
    skip 'kills' 'tests/faults.so cannot be preloaded into this build'
    done_testing
    exit 0
fi
small_policy p0
batch p0 1 > b1.jrl
update=(jrl-update --policy p0 --lr 1e-3 --warmup 0 --mini-batch 3 --threads 1 -q)
mkdir whole run
"${update[@]}" --out whole/p1 --metrics whole/metrics.jsonl b1.jrl
ok 'the operations of an update' with_faults run log 0 before process "${update[@]}" --out run/p1 --metrics run/metrics.jsonl b1.jrl
ok 'are durable: files and folders are fsynced around each rename' perl "$JRL_TOP/tests/durable.pl" log
ok 'metrics are fsynced' test "$(tail -n 1 log | cut -d' ' -f2,3)" = "fsync $PWD/run/metrics.jsonl"
# The check can fail: without the fsync of the parent, of a file, of the folder itself
last=$(grep -n 'rename .*/run/p1$' log | cut -d: -f1)
sed "$((last + 1))d" log > bad1
grep -v 'fsync .*/m.safetensors' log > bad2
awk '!($2 == "fsync" && $3 ~ /optimizer$/)' log > bad3
for bad in bad1 bad2 bad3; do ok "what is missing is found ($bad)" exits 1 perl "$JRL_TOP/tests/durable.pl" "$bad"; done
n=$(wc -l < log)
ok 'there are enough of them' test "$n" -gt 30

# killed AT WHEN: the policy is whole or absent; the next attempt, after the driver's tidying, gives the same bits
killed() {
    local file
    rm -rf run && mkdir run
    with_faults run log "$1" "$2" process "${update[@]}" --out run/p1 --metrics run/metrics.jsonl b1.jrl 2> /dev/null
    [ $? -eq 137 ] || { echo "was not killed"; return 1; }
    if [ ! -e run/p1 ]; then
        [ ! -s run/metrics.jsonl ] || { echo "metrics of a step that is not there"; return 1; }
        rm -rf run/.p1.*
        "${update[@]}" --out run/p1 --metrics run/metrics.jsonl b1.jrl || return 1
    fi
    for file in model.safetensors config.json tokenizer.json optimizer/master.safetensors optimizer/m.safetensors optimizer/v.safetensors; do
        cmp "whole/p1/$file" "run/p1/$file" || return 1
    done
    [ "$(jq .step run/p1/metrics.json)" = 1 ] || return 1
    [ "$(jq -r .policy.id run/p1/state.json)" = "$(jq -r .policy.id whole/p1/state.json)" ]
}
number() { grep -nE "$1" log | tail -n 1 | cut -d: -f1; }
if [ "${1:-}" = all ]; then
    for ((at = 1; at <= n; at++)); do
        for when in before after; do ok "killed $when operation $at" killed "$at" "$when"; done
    done
else
    for at in "$(number 'fsync .*/model.safetensors')" "$(number 'write .*/optimizer/v.safetensors')" "$(number 'rename .*/state.json')" \
        "$(number 'rename .*/run/p1$')" "$n"; do
        for when in before after; do ok "killed $when operation $at" killed "$at" "$when"; done
    done
fi
done_testing
