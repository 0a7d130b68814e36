#!/bin/sh
# Runs bench_gpu, and the same work in torch where Python has one that finds a GPU. Usage: tests/bench/gpu.sh BENCH_GPU [ROW...].
# Without nvcc or a GPU: says so, exit 0.
set -u
bench=$1
shift
if [ ! -x "$bench" ]; then
    echo 'bench-gpu: skipped: there is no nvcc'
    exit 0
fi
failed=0
"$bench" "$@" || failed=1
# A fault of the GPU ends a process, so the rows behind it are missing: each again by itself.
if [ $failed -ne 0 ] && [ $# -eq 0 ]; then
    for row in start decode prefill update step; do
        "$bench" $row
    done
fi
if python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
    python3 "$(dirname "$0")/peer_torch_gpu.py" "$@" || failed=1
else
    echo 'bench-gpu: torch is left out: python3 has none that finds a GPU'
fi
exit $failed
