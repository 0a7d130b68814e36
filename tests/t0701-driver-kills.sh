#!/usr/bin/env bash
# A run whose driver and tools are killed together at a file operation, as a power cut would: it goes on to the same
# weights, and metrics.jsonl has each step once. A handful of points; tests/slow/kill-campaign.sh tries them all.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"
# shellcheck source=tests/kill.sh
. "$JRL_TOP/tests/kill.sh"

if ! have_faults; then
    skip 'kills' 'tests/faults.so cannot be preloaded into this build'
    done_testing
    exit 0
fi
awk -f "$JRL_TOP/pipelines/demo.awk" -v kind=problems -v part=train -v count=20 -v seed=1 -v digits=2 > train.jsonl
jrl-import -q --source train -o train.jrl train.jsonl
jrl-model make -q --shape dim=32,layers=1,heads=2,kv-heads=1,mlp=64,positions=128 --tokenizer "$JRL_TOP/pipelines/demo-tokenizer" -o start
driver=("$JRL_TOP/pipelines/justrl" --policy start --data train.jrl --eval test=train.jrl --steps 2 --batch-size 2 --samples 4
    --mini-batch 1 --max-prompt-tokens 64 --max-tokens 8 --lr 1e-3 --warmup 1 --threads 1 --eval-samples 1 --eval-max-tokens 4
    --eval-every 2 --save-every 1)

mkdir whole run
ok 'a run of two steps' with_faults whole log 0 before process "${driver[@]}" whole
n=$(wc -l < log)
ok 'makes enough operations' test "$n" -gt 60
ok 'that are durable: fsync before and after each rename' perl "$JRL_TOP/tests/durable.pl" log

same_run() {
    local file
    for file in 000001/model 000002/model 000002/optimizer/master 000002/optimizer/m 000002/optimizer/v; do
        cmp "whole/policy/$file.safetensors" "run/policy/$file.safetensors" || return 1
    done
    [ "$(jq -c .step run/metrics.jsonl | tr '\n' ' ')" = '1 2 ' ] || { echo "steps: $(jq -c .step run/metrics.jsonl)"; return 1; }
    [ "$(readlink run/policy/latest)" = 000002 ] && diff -r whole/eval run/eval
}
killed() { # AT WHEN
    rm -rf run && mkdir run
    with_faults run log.kill "$1" "$2" session setsid -w "${driver[@]}" run > /dev/null 2>&1
    [ $? -eq 137 ] || { echo "was not killed"; return 1; }
    "${driver[@]}" run > again 2>&1 || { cat again; return 1; }
    same_run
}
# One of each kind, by name since numbers vary with timing: the recipe, a batch, the checkpoint, the link, the
# evaluation's samples and figures.
for to in recipe batches/000002.jrl policy/000002 policy/latest eval/000002.test.jrl eval/000002.json; do
    for when in before after; do ok "killed $when the rename to $to" killed " $PWD/run/$to"$'\n' "$when"; done
done
ok 'killed as the first link is made' killed "symlink $PWD/run/policy" after
done_testing
