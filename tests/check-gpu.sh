#!/bin/sh
# Runs the kernel table with the real plug-in. Usage: tests/check-gpu.sh TEST_PROGRAM. Without nvcc or a GPU: says so, exit 0.
set -u
if [ ! -x "$1" ]; then
    echo 'check-gpu: skipped: there is no nvcc'
    exit 0
fi
"$1" --probe
case $? in
0) exec "$1" ;;
77) exit 0 ;;
*) exit 1 ;;
esac
