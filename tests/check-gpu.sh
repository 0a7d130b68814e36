#!/bin/sh
# The kernel table with the real plug-in, then training runs on the GPU, whose tests otherwise take the emulated one, then GPU beside
# CPU with a model of real size, then a small model that learns. Nothing that fails keeps the rest from running. Usage: tests/check-gpu.sh TEST_PROGRAM
# BUILD_FOLDER.
# Without nvcc or a GPU: says so, exit 0.
set -u
table=$1
if [ ! -x "$table" ]; then
    echo 'check-gpu: skipped: there is no nvcc'
    exit 0
fi
"$table" --probe
case $? in
0) ;;
77) exit 0 ;;
*) exit 1 ;;
esac
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2> /dev/null
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
failed=0

# A fault inside a kernel ends everything that its process asks for later, and comes out where somebody waits. So what failed is shown
# again case by case, in a process each, where every launch is waited for: then the message names the kernel.
# shellcheck disable=SC2086
case_by_case() {
    for name in $("$table" --list); do
        CUDA_LAUNCH_BLOCKING=1 timeout 60 "$table" "$name" > "$log" 2>&1 && continue
        echo "check-gpu: $name fails by itself, too:"
        grep -v -e '^\[ *RUN' -e '^\[=*\]' "$log" | head -n 20
        grep -Eq 'illegal|misaligned|launch failure' "$log" && command -v compute-sanitizer > /dev/null &&
            timeout 120 compute-sanitizer "$table" "$name" 2>&1 | grep '^=====' | head -n 20
    done
}
timeout 180 "$table" || {
    failed=1
    case_by_case
}

for program in bash jq python3; do
    command -v $program > /dev/null || { echo "check-gpu: training is left out: there is no $program" && exit $failed; }
done
JRL_BUILD=$(realpath "$2") JRL_GPU_PLUGIN=$JRL_BUILD/lib/jrl/libjrl-cuda.so
export JRL_BUILD JRL_GPU_PLUGIN
for test in t0610-update-device t0710-driver-device; do
    timeout 300 bash "$(dirname "$0")/$test.sh" > "$log" 2>&1 || echo "not ok - $test ends early" >> "$log"
    if grep -q '^not ok' "$log"; then
        failed=1
        sed -n '/^not ok/,/^ok/{/^ok/d;p}' "$log"
    fi
    echo "check-gpu: $test: $(grep -c '^ok' "$log") passed, $(grep -c '^not ok' "$log") failed"
done
timeout 300 bash "$(dirname "$0")/gpu-parity.sh" || failed=1
timeout 300 bash "$(dirname "$0")/gpu-learning.sh" || failed=1
exit $failed
