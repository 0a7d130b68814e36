#!/usr/bin/env bash
# Gets what `make bench-peers` compares with into FOLDER: llama.cpp's batched benchmark, compiled for this machine from the
# source that llama-cpp-python carries on PyPI, our peer_llama with its library, and a virtual environment with torch,
# Transformers, numpy and gguf. Usage: get-peers.sh FOLDER.
# PEERS_PYTHON=PROGRAM names a Python that has those four already; on PyPI torch brings some 4 GB of CUDA libraries.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source=llama-cpp-python==0.3.36
peers=$1
fail() {
    echo "bench-peers: error: $*" >&2
    exit 1
}

# python_of PYTHON: made, where it is the environment of our own, and called $peers/python
python_of() {
    if [ -z "${PEERS_PYTHON:-}" ] && ! "$1" -c 'import torch, transformers, gguf, numpy' 2> /dev/null; then
        rm -rf "$peers/venv"
        { python3 -m venv "$peers/venv" && "$1" -m pip install -q --disable-pip-version-check torch transformers gguf numpy; } \
            > "$peers/python.log" 2>&1 || fail "torch and transformers cannot be installed from PyPI ($peers/python.log); PEERS_PYTHON= may name a Python that has them"
    fi
    "$1" -c 'import torch, transformers, gguf, numpy' 2> /dev/null || fail "'$1' lacks torch, transformers, gguf or numpy"
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$(realpath -s "$1")" > "$peers/python.new"
    chmod +x "$peers/python.new"
    mv "$peers/python.new" "$peers/python"
}

llama() {
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    "$peers/python" -m pip download -q --disable-pip-version-check --no-deps --no-binary llama-cpp-python -d "$scratch" "$source" \
        > "$peers/llama.log" 2>&1 || fail "$source cannot be fetched from PyPI ($peers/llama.log)"
    rm -rf "$peers/llama" "$peers/src"
    mkdir -p "$peers/src"
    tar -xzf "$scratch"/*.tar.gz -C "$peers/src" --strip-components=3 --wildcards '*/vendor/llama.cpp/*'
    { cmake -S "$peers/src" -B "$peers/llama" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF &&
        cmake --build "$peers/llama" --target llama-batched-bench --parallel "$(nproc)"; } >> "$peers/llama.log" 2>&1 ||
        fail "llama.cpp does not compile ($peers/llama.log)"
    echo "$source" > "$peers/llama/source"
}

for program in cmake c++ python3; do
    command -v "$program" > /dev/null || fail "'$program' is needed to build the peers; on Debian: apt install cmake g++ python3-venv"
done
mkdir -p "$peers"
[ -x "$peers/python" ] || python_of "${PEERS_PYTHON:-$peers/venv/bin/python}"
[ -f "$peers/llama/source" ] || llama
if [ ! "$peers/peer_llama" -nt "$here/peer_llama.cpp" ]; then
    c++ -O2 -I "$peers/src/include" -I "$peers/src/ggml/include" -o "$peers/peer_llama" "$here/peer_llama.cpp" -L "$peers/llama/src" \
        -L "$peers/llama/ggml/src" -lllama -lggml -lggml-cpu -lggml-base -fopenmp -pthread -ldl || fail 'peer_llama.cpp does not compile'
fi
