#!/usr/bin/env bash
# Builds and runs one fuzz program with libFuzzer (clang and its compiler-rt are needed).
# Usage: tests/fuzz/run.sh reader|json|where|algebra|latex|normalize|verify|... [SECONDS]    FUZZ_CC=clang-16 chooses another clang
# SECONDS 0 builds only. Inputs that are worth keeping gather under build/fuzz/corpus.NAME; a crash leaves its input in build/fuzz.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=$1 seconds=${2:-60}
cc=${FUZZ_CC:-}
for candidate in clang clang-19 clang-16 clang-14; do
    [ -n "$cc" ] || cc=$(command -v "$candidate") || cc=
done
out=build/fuzz
mkdir -p "$out/corpus.$name"
make -s -j 2 BUILD=fuzz CC="$cc" "$out/fuzz_$name"
[ "$seconds" -gt 0 ] || exit 0
# answers FILTER: a seed for each of the golden answers, the bytes that jq makes of it
answers() {
    local i=0 line
    while read -r line; do
        i=$((i + 1))
        jq -j "$1" <<< "$line" | LC_ALL=C sed 's/\xc3\xbf/\xff/g' > "$out/corpus.$name/seed.$i" # U+00FF separates
    done < tests/golden/answer.jsonl
}
seeds=()
case $name in
reader) seeds=(tests/golden/stream/good tests/golden/stream/bad) ;;
json) split -l 1 -a 4 <(cat tests/golden/stream/good/values.jsonl) "$out/corpus.$name/seed." ;;
latex | normalize) answers '.response' ;;
verify)
    answers '"\u0001<think></think>\(.response)\u00ff\(.ground_truth)"'
    seeds=(tests/fuzz/corpus.verify) # kept: also what tests/unit/test_answer_hostile.c replays
    ;;
where) printf "a == 1 and b != 'x' or c" > "$out/corpus.$name/seed" ;;
algebra) split -l 1 -a 4 tests/fuzz/algebra.seeds "$out/corpus.$name/seed." ;;
esac
ASAN_OPTIONS=allocator_may_return_null=1 exec "$out/fuzz_$name" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 \
    -print_final_stats=1 -artifact_prefix="$out/" "$out/corpus.$name" "${seeds[@]}"
