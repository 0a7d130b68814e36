#!/usr/bin/env bash
# The kill campaign: a run of the driver is killed, whole session at once as by a power cut, before and after each of
# its file operations, and at 20 random instants; continued, it must end in the same weights, optimiser state and
# metrics as a run that was never killed. Then the same for jrl-update alone. TAP; some minutes.
# `kill-campaign.sh N FIRST` does every N-th operation only, from FIRST on.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/tap.sh"
# shellcheck source=tests/batch.sh
. "$JRL_TOP/tests/batch.sh"
# shellcheck source=tests/kill.sh
. "$JRL_TOP/tests/kill.sh"
stride=${1:-1} first=${2:-1}

if ! have_faults; then
    skip 'kill campaign' 'tests/faults.so cannot be preloaded into this build'
    done_testing
    exit 0
fi
small_policy p0
problems 1 8 | sed '$d' | jq -c 'del(.draw, .step) | .source = "kill"' | jrl-pack --kind problem > data.jrl
# Entropy gives a gradient although no random response is right.
driver=("$JRL_TOP/pipelines/justrl" --policy p0 --data data.jrl --steps 3 --batch-size 4 --samples 2 --mini-batch 2 --max-tokens 12
    --max-prompt-tokens 100 --lr 1e-3 --warmup 0 --entropy-coef 0.1 --threads 1 --keep-batches 1 --save-every 2
    --eval data=data.jrl --eval-every 2 --eval-samples 1 --eval-max-tokens 12)

# finished RUN: the same as the run that was never killed, and nothing half-made beside it
finished() {
    local file
    [ "$(readlink "$1/policy/latest")" = 000003 ] || { echo "latest is $(readlink "$1/policy/latest")"; return 1; }
    for file in model optimizer/master optimizer/m optimizer/v; do
        cmp "whole/policy/000003/$file.safetensors" "$1/policy/000003/$file.safetensors" || return 1
    done
    [ "$(jq -c .step "$1/metrics.jsonl" | tr '\n' ' ')" = '1 2 3 ' ] || { echo "steps in metrics.jsonl:"; jq -c .step "$1/metrics.jsonl"; return 1; }
    diff <(without_times whole/metrics.jsonl) <(without_times "$1/metrics.jsonl") || return 1
    diff -r whole/eval "$1/eval" || return 1
    diff <(cd whole && find . ! -name '*.log' | sort) <(cd "$1" && find . ! -name '*.log' | sort)
}
# The dead may hold the lock for a moment longer, in the middle of an fsync.
go_on() {
    [ ! -e run/lock ] || flock -w 20 run/lock true
    "${driver[@]}" run > continued.log 2>&1 || { cat continued.log; return 1; }
    finished run
}

ok 'a run that is never killed' "${driver[@]}" whole
mkdir run
ok 'its operations are counted' with_faults run log 0 before session "${driver[@]}" run
ok 'and change nothing' finished run
ok 'they are durable' perl "$JRL_TOP/tests/durable.pl" log
n=$(wc -l < log)
cut -d' ' -f2- log | sed "s|$PWD/||g" > operations
echo "# $n file operations under the run folder"

# How often a stream is flushed depends on timing, so the last operations of one run may not exist in another.
killed() { # AT WHEN
    local status
    rm -rf run && mkdir run
    with_faults run log "$1" "$2" session setsid -w "${driver[@]}" run > killed.log 2>&1
    status=$?
    if [ "$status" -eq 0 ] && [ "$(wc -l < log)" -lt "$1" ]; then
        finished run
        return
    fi
    [ "$status" -eq 137 ] || { echo "was not killed: status $status"; cat killed.log; return 1; }
    go_on
}
for ((at = first; at <= n + 10; at += stride)); do
    name=$(sed -n "${at}p" operations)
    for when in before after; do ok "killed $when operation $at, such as $name" killed "$at" "$when"; done
done

random_kill() { # SECONDS
    local pid
    rm -rf run && mkdir run
    setsid "${driver[@]}" run > killed.log 2>&1 &
    pid=$!
    sleep "$1"
    pkill -KILL -s "$pid"
    wait "$pid" 2> /dev/null
    go_on
}
start=$(date +%s%N)
rm -rf run && "${driver[@]}" run > /dev/null 2>&1
length_ms=$((($(date +%s%N) - start) / 1000000))
RANDOM=1
for ((i = 1; i <= 20; i++)); do
    ms=$((RANDOM * length_ms / 32768))
    ok "killed after $ms ms of about $length_ms" random_kill "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
done

# The operations of a policy alone
alone=$(bash "$JRL_TOP/tests/t0602-update-kills.sh" all)
all_ok() { ! grep '^not ok' <<< "$alone"; }
ok 'jrl-update alone, killed at each operation' all_ok
echo "# $(grep -c '^ok' <<< "$alone") points"
done_testing
