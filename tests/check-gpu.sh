#!/bin/sh
# The kernel table with the real plug-in, then training runs on the GPU, whose tests otherwise take the emulated one.
# Usage: tests/check-gpu.sh TEST_PROGRAM BUILD_FOLDER. Without nvcc or a GPU: says so, exit 0.
set -u
if [ ! -x "$1" ]; then
    echo 'check-gpu: skipped: there is no nvcc'
    exit 0
fi
"$1" --probe
case $? in
0) "$1" && JRL_GPU_PLUGIN=$(realpath "$2/lib/jrl/libjrl-cuda.so") tests/run.pl --build "$2" tests/t0610-update-device.sh tests/t0710-driver-device.sh ;;
77) exit 0 ;;
*) exit 1 ;;
esac
