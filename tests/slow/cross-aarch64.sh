#!/bin/bash
# Cross-builds the portable kernels for aarch64, runs them under qemu-user, and compares the digest of every
# kernel's output with this machine's, on each instruction set it has.
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

sources=
for file in "$JRL_TOP"/kernels/cpu/*.c; do
    case $file in *_amx.c | *_avx512.c | *_avx2.c) ;; *) sources="$sources ${file#"$JRL_TOP"/}" ;; esac
done
base="libcommon/base/threads.c libcommon/base/error.c libcommon/base/memory.c"

# build COMPILER OUTPUT FLAGS...
build() {
    local compiler=$1 output=$2
    shift 2
    # shellcheck disable=SC2086 # lists of words
    (cd "$JRL_TOP" && "$compiler" -O2 -std=gnu11 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -pthread -I. -Ilibcommon "$@" \
        -o "$output" tests/slow/kernel_digest.c $sources $base -lm)
}


if ! command -v aarch64-linux-gnu-gcc > /dev/null || ! command -v qemu-aarch64 > /dev/null; then
    skip "kernels on aarch64" "needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user"
else
    ok "cross-build the portable kernels" build aarch64-linux-gnu-gcc "$scratch/digest-aarch64" -static
    ok "run them under qemu" sh -c "qemu-aarch64 '$scratch/digest-aarch64' 2 > '$scratch/aarch64'"
    digest=$JRL_BUILD/tests/slow/kernel_digest
    ok "build for this machine" make -s -C "$JRL_TOP" "${digest#"$JRL_TOP"/}"
    for disable in '' amx amx,avx512 amx,avx512,avx2; do
        ok "same bits here with JRL_DISABLE='$disable'" \
            sh -c "JRL_DISABLE='$disable' '$digest' 2 > '$scratch/here' && [ \$(wc -l < '$scratch/here') -ge 40 ] && diff '$scratch/aarch64' '$scratch/here'"
    done
fi
done_testing
