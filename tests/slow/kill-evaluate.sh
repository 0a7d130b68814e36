#!/usr/bin/env bash
# pipelines/evaluate killed, whole session at once as by a power cut, before and after each of its file operations, alone and in
# the last of two shards; called again, its records and its table must be those of a call that was never killed.
# `kill-evaluate.sh N FIRST` does every N-th operation only, from FIRST on. TAP; some minutes.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/tap.sh"
# shellcheck source=tests/kill.sh
. "$JRL_TOP/tests/kill.sh"
stride=${1:-1} first=${2:-1}

if ! have_faults; then
    skip 'kills of an evaluation' 'tests/faults.so cannot be preloaded into this build'
    done_testing
    exit 0
fi
mkdir data
for n in 1 2 3; do printf '{"problem":"What is %d + 2?","answer":"%d"}\n' "$n" $((n + 2)); done | tee data/hmmt25.jsonl > data/minerva.jsonl
jrl-model make -q --shape dim=32,layers=1,heads=2,kv-heads=1,mlp=64,positions=2048 -o policy
printf 'Q {question} G {answer} R {response} ?\n' > judge.txt
options=(--policy policy --data data --benchmarks 'Minerva,HMMT25' --samples 2 --max-tokens 12 --max-prompt-tokens 200 --threads 1
    --judge policy --judge-prompt judge.txt --judge-max-tokens 3)
evaluate() { "$JRL_TOP/pipelines/evaluate" "${options[@]}" "$@"; }

finished() { # FOLDER: as the whole one, and nothing half-made beside it
    local name
    for name in Minerva HMMT25; do cmp <(jrl-view "whole/$name.jrl") <(jrl-view "$1/$name.jrl") || return 1; done
    cmp whole/table.txt "$1/table.txt" && diff <(jq -S . whole/table.json) <(jq -S . "$1/table.json") || return 1
    [ -z "$(find "$1" -name '*.tmp*' -o -name '*.part' -o -name '*.cut' -o -name '*.few')" ] || { find "$1"; return 1; }
}
ok 'never killed' evaluate whole

# campaign NAME PREPARE COMMAND...: PREPARE makes the folder `run` as it is before the command that is killed
campaign() {
    local name=$1 prepare=$2 n
    shift 2
    rm -rf run && mkdir run && "$prepare"
    ok "$name: its operations are counted" with_faults run log 0 before session "$JRL_TOP/pipelines/evaluate" "${options[@]}" "$@" run
    ok "$name: they are durable" perl "$JRL_TOP/tests/durable.pl" log
    n=$(wc -l < log)
    cut -d' ' -f2- log | sed "s|$PWD/||g" > operations
    echo "# $n file operations under the folder"
    for ((at = first; at <= n; at += stride)); do
        for when in before after; do
            ok "$name: killed $when operation $at, such as $(sed -n "${at}p" operations)" killed "$at" "$when" "$prepare" "$@"
        done
    done
}
killed() { # AT WHEN PREPARE OPTIONS...
    local at=$1 when=$2 prepare=$3 status
    shift 3
    rm -rf run && mkdir run && "$prepare"
    with_faults run log "$at" "$when" session setsid -w "$JRL_TOP/pipelines/evaluate" "${options[@]}" "$@" run > killed.log 2>&1
    status=$?
    # How often a stream is flushed depends on timing: the last operations of one run may not exist in another.
    [ "$status" -eq 137 ] || [ "$(wc -l < log)" -lt "$at" ] || { echo "was not killed: status $status"; cat killed.log; return 1; }
    for lock in run/lock run/lock.1-2 run/lock.start; do [ ! -e "$lock" ] || flock -w 20 "$lock" true; done # the dead may hold it a moment longer
    evaluate "$@" run > continued.log 2>&1 || { cat continued.log; return 1; }
    [ $# -eq 0 ] || evaluate run > continued.log 2>&1 || { cat continued.log; return 1; }
    finished run
}
nothing() { :; }
first_shard() { evaluate --shard 0/2 run > /dev/null 2>&1; }
both_shards() { first_shard && evaluate --shard 1/2 run > /dev/null 2>&1; }
campaign 'alone' nothing
campaign 'the second shard' first_shard --shard 1/2
campaign 'joining' both_shards
done_testing
