#!/usr/bin/env bash
# The demo with its controls, for three seeds: it learns, and neither control explains it.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"

column() { awk -v row="$1" -v n="$2" 'index($0, row) == 1 { print $(NF - 4 + n) }' demo.txt; }
at_most() { awk -v x="$1" -v bound="$2" 'BEGIN { exit !(x ~ /^[0-9.]+$/ && x <= bound) }' || { echo "$1 > $2"; return 1; }; }
at_least() { awk -v x="$1" -v bound="$2" 'BEGIN { exit !(x ~ /^[0-9.]+$/ && x >= bound) }' || { echo "$1 < $2"; return 1; }; }
for seed in 0 1 2; do
    ok "seed $seed: the demo ends well" sh -c "'$JRL_TOP/pipelines/demo' --seed $seed --out demo > demo.txt"
    grep -E '^(avg@8|all problems|[0-9] digits|boxed|mean tokens|entropy|demo:)' demo.txt | sed 's/^/# /'
    before=$(column 'all problems' 1)
    ok "seed $seed: starts at 0.40 or below" at_most "$before" 0.40
    ok "seed $seed: reaches 0.80" at_least "$(column 'all problems' 2)" 0.80
    ok "seed $seed: permuted advantages gain nothing" at_most "$(column 'all problems' 3)" "$(jq -n "$before + 0.05")"
    ok "seed $seed: at least 90 % of the first responses hold a box" at_least "$(column boxed 1)" 0.90
done
done_testing
