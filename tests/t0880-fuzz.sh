#!/usr/bin/env bash
# Each fuzz program for some seconds, a minute in all, under the sanitizers; hours of it are tests/slow/fuzz.sh's.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"

programs=(reader json where latex normalize algebra verify)
cc=${FUZZ_CC:-clang}
has_fuzzer() { echo 'int LLVMFuzzerTestOneInput(const char *p, long n) { return p[n - 1] > 300; }' > probe.c && "$cc" -fsanitize=fuzzer,address probe.c -o probe; }
if ! has_fuzzer > /dev/null 2>&1; then
    skip 'fuzzing' 'there is no clang with libFuzzer'
    done_testing
    exit 0
fi
for program in "${programs[@]}"; do
    ok "$program: builds" env FUZZ_CC="$cc" "$JRL_TOP/tests/fuzz/run.sh" "$program" 0
    ok "$program: nothing found" env FUZZ_CC="$cc" "$JRL_TOP/tests/fuzz/run.sh" "$program" 8
done
done_testing
