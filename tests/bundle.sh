#!/bin/sh
# Packs what machines need that have nothing installed: nodes of a cluster, a lent GPU. Programs without symbols, pipelines, jq, the libraries of both but the
# C library's own, and with nvcc the plug-in, its tests and benchmarks. FOLDER is made anew; it may be moved, and takes a C library of this machine's
# version or later. Usage: tests/bundle.sh BUILD_FOLDER FOLDER. There: cd FOLDER && . ./env.sh
set -eu
build=$1 out=$2
top=$(dirname "$0")/..
rm -rf "$out"
mkdir -p "$out/lib" "$out/programs" "$out/tests/bench" "$out/tests/slow"
for file in "$build"/bin/* "$build/lib/jrl/libjrl-cuda.so" \
    "$build/tests/gpu/lib/jrl/libjrl-cuda.so" "$build/tests/gpu/cuda/test_kernels" "$build/tests/gpu/bench/bench_gpu"; do
    [ -f "$file" ] || continue
    to=$out/build/release/${file#"$build"/}
    mkdir -p "$(dirname "$to")"
    strip -o "$to" "$file"
    chmod 755 "$to"
done
strip -o "$out/programs/jq" "$(command -v jq)"
cp -R "$top/pipelines" "$top/LICENSE" "$out"
rm -rf "$out/pipelines/results"
cp "$top"/tests/*.sh "$out/tests"
cp "$top/tests/bench/gpu.sh" "$top/tests/bench/peer_torch_gpu.py" "$out/tests/bench"
cp "$top/tests/slow/zero-mismatch.sh" "$out/tests/slow"
find "$out/build" "$out/programs" -type f -exec ldd {} + | awk '$2 == "=>" && $3 ~ "^/" && $1 !~ /^lib(c|m|dl|rt|pthread)\.so/ { print $3 }' | sort -u |
    while read -r library; do cp -L "$library" "$out/lib"; done
cat > "$out/env.sh" <<'END'
# To be read by a shell in this folder: programs and libraries from here.
if [ -x "$PWD/build/release/bin/jrl" ]; then
    export PATH="$PWD/build/release/bin:$PWD/pipelines:$PWD/programs:$PATH"
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$PWD/lib"
else
    echo 'env.sh: to be read in its own folder: cd FOLDER && . ./env.sh' >&2
fi
END
du -sh "$out" | sed 's/$/: cd there, then . .\/env.sh/'
if [ -f "$out/build/release/tests/gpu/cuda/test_kernels" ]; then
    echo 'tests/check-gpu.sh build/release/tests/gpu/cuda/test_kernels build/release'
    echo 'tests/gpu-sanitizer.sh build/release/tests/gpu/cuda/test_kernels 600'
    echo 'tests/bench/gpu.sh build/release/tests/gpu/bench/bench_gpu'
fi
