#!/usr/bin/env bash
# The kernels on AMX's tiles, with the tile instructions emulated (tests/tiles), so that a processor without them runs these
# paths too; on one that has them, the emulation gives its bits.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"

if ! grep -qm 1 '^flags.* avx512_bf16' /proc/cpuinfo; then
    skip 'kernels on emulated tiles' 'the processor has no avx512_bf16'
    done_testing
    exit 0
fi

programs=(test_matmul test_attention test_attention_shared test_gated test_mlp test_layer_bits)
build=$JRL_TOP/build/tiles
ok 'BUILD=tiles' make -s -C "$JRL_TOP" -j 2 BUILD=tiles "${programs[@]/#/build/tiles/tests/kernels/}"
passes() { "$build/tests/kernels/$1" > out.txt 2>&1 || { cat out.txt; return 1; }; }
takes_tiles() { ! grep -q 'skipped: path amx' out.txt || { grep 'skipped: path amx' out.txt; return 1; }; }
for program in "${programs[@]}"; do
    ok "$program on emulated tiles" passes "$program"
    ok '... the path is taken' takes_tiles
done
done_testing
