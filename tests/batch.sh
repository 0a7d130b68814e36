# batch.sh - for tests of jrl-update: small policies and batches with rewards. Source it after tap.sh.
# shellcheck shell=bash

# small_policy DIR [OPTIONS OF jrl-model make]: random weights
small_policy() {
    local dir=$1
    shift
    jrl-model make --shape dim=32,layers=2,heads=4,kv-heads=2,mlp=64,positions=256 "$@" -o "$dir"
}

# problems STEP N: N problems of a batch, with its boundary, as JSON lines; draws go on from step to step
problems() {
    local i
    for ((i = 0; i < $2; i++)); do
        printf '{"uid":%d,"draw":%d,"step":%d,"problem":"p%d","prompt":"p%d","answer":"%d"}\n' \
            $((i + 1)) $((($1 - 1) * $2 + i)) "$1" "$i" "$i" "$i"
    done
    printf '{"jrl":"batch","k":%d}\n' "$1"
}

# rewrite FILTER: each data record of the stream through a jq filter
rewrite() { jrl-view --header | jq -c "if .jrl then . else $1 end" | jrl-pack; }

# batch POLICY STEP [OPTIONS OF jrl-sample]: 6 groups of 4 rollouts; every second one is right
batch() {
    local policy=$1 step=$2
    shift 2
    problems "$step" 6 | jrl-pack --kind problem | jrl-sample --policy "$policy" --samples 4 --max-tokens 24 "$@" |
        rewrite '.correct = (.sample % 2 == 0) | .reward = (if .correct then 1 else -1 end)' | jrl-advantage
}

# without_times FILE: a metrics line without what differs from run to run
without_times() { jq -c 'del(.seconds, .tokens_per_second)' "$1"; }

metric() { values "$1/metrics.json" | jq -r "$2"; }
