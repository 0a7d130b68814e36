#!/bin/bash
# The CUDA kernels in the emulator, in orders of threads and arrivals of copies that are drawn (schedule "chance" of
# tests/emulator/fibres.cpp): what waits for another thing than it reads, and turns that can be lost.
# Usage: kernel-orders.sh [ORDERS [PATTERN...]], names of test_kernels --list.
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

orders=${1:-4}
table="$JRL_BUILD/tests/cuda/test_kernels"
if [ ! -x "$table" ]; then
    skip 'kernels in drawn orders' 'the emulator is for x86-64'
else
    for name in $("$table" --list "${@:2}"); do ok "$name in $orders orders" "$table" --chance="$orders" "$name"; done
fi
done_testing
