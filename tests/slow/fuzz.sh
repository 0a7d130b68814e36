#!/usr/bin/env bash
# The fuzz programs for JRL_FUZZ_SECONDS each (default 60), what they find interesting kept in build/fuzz for the next time.
# An hour of processor time went over the verifiers before they were called done: tests/slow/results.md.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"

seconds=${JRL_FUZZ_SECONDS:-60}
finds_nothing() {
    "$JRL_TOP/tests/fuzz/run.sh" "$1" "$seconds" > out.txt 2>&1 || { tail -n 30 out.txt; return 1; }
    sed -n "s/^stat::number_of_executed_units: *\(.*\)/# $1: \1 inputs in $seconds s/p" out.txt >&3
}
exec 3>&1
for program in reader json where latex normalize algebra verify; do
    ok "$program: nothing found" finds_nothing "$program"
done
done_testing
