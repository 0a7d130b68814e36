#!/bin/bash
# Cross-builds the portable kernels and their tests (tests/kernels) for aarch64 and runs them under qemu-user; then
# compares the digest of every kernel's output with this machine's, on each instruction set it has.
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

sources=
for file in "$JRL_TOP"/kernels/*.c "$JRL_TOP"/kernels/cpu/*.c; do
    case $file in *_amx.c | *_avx512bf16.c | *_avx512.c | *_avx2.c) ;; *) sources="$sources ${file#"$JRL_TOP"/}" ;; esac
done
base="libcommon/base/threads.c libcommon/base/error.c libcommon/base/memory.c libcommon/base/machine.c"

# cross_build PROGRAM OUTPUT: the kernels and the program, for aarch64; cross/ has a small cmocka.h
cross_build() {
    # shellcheck disable=SC2086 # lists of words
    (cd "$JRL_TOP" && aarch64-linux-gnu-gcc -O2 -std=gnu11 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -pthread -I. -Ilibcommon \
        -Itests/slow/cross -static -o "$2" "$1" $sources $base -lm)
}
# The tests pass, each of those it names; test_layer_bits has digests that were computed on x86-64.
cross_test() { # SOURCE
    cross_build "$1" "$scratch/test" && qemu-aarch64 "$scratch/test" > passed &&
        diff <(grep -o 'cmocka_unit_test[a-z_]*([a-z_0-9]*' "$JRL_TOP/$1" | sed 's/.*(//') <(sed -nE 's/^(passed|skipped): //p' passed)
}
other_digest() {
    mkdir -p copy && sed 's/0x3e9b2d68e23b0684/0x3e9b2d68e23b0685/' "$JRL_TOP/tests/kernels/test_layer_bits.c" > copy/test_layer_bits.c &&
        cp "$JRL_TOP"/tests/kernels/*.h copy/ && cross_build "$PWD/copy/test_layer_bits.c" "$scratch/test" && exits 1 qemu-aarch64 "$scratch/test"
}

if ! command -v aarch64-linux-gnu-gcc > /dev/null || ! command -v qemu-aarch64 > /dev/null; then
    skip "kernels on aarch64" "needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user: tests/deps.sh --slow"
else
    for test in "$JRL_TOP"/tests/kernels/*.c; do ok "$(basename "$test" .c) on aarch64" cross_test "${test#"$JRL_TOP"/}"; done
    ok "a test that must fail there does" other_digest
    ok "cross-build the digests of the portable kernels" cross_build tests/slow/kernel_digest.c "$scratch/digest-aarch64"
    ok "run them under qemu" sh -c "qemu-aarch64 '$scratch/digest-aarch64' 2 > '$scratch/aarch64'"
    digest=$JRL_BUILD/tests/slow/kernel_digest
    ok "build for this machine" make -s -C "$JRL_TOP" "${digest#"$JRL_TOP"/}"
    for disable in '' amx avx512bf16 avx512 avx2; do
        ok "same bits here with JRL_DISABLE='$disable'" \
            sh -c "JRL_DISABLE='$disable' '$digest' 2 > '$scratch/here' && [ \$(wc -l < '$scratch/here') -ge 40 ] && diff '$scratch/aarch64' '$scratch/here'"
    done
fi
done_testing
