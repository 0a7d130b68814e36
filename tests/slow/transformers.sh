#!/usr/bin/env bash
# tests/t0510-transformers.sh with torch: Transformers' own models load what we write and give our log-probabilities.
# JRL_REFERENCE_PYTHON names a Python with torch and transformers; without it one is installed from PyPI (3 GB).
# shellcheck source=tests/tap.sh
. "${JRL_TOP:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/tap.sh"

python=${JRL_REFERENCE_PYTHON:-$JRL_TOP/build/reference-torch/bin/python}
if [ -z "${JRL_REFERENCE_PYTHON:-}" ]; then "$JRL_TOP/tests/reference/get.sh" --torch >&2; fi
if ! "$python" -c 'import torch, transformers, jinja2' 2> /dev/null; then
    skip 'Transformers with torch' 'could not be installed from PyPI; JRL_REFERENCE_PYTHON names a Python that has it'
    done_testing
    exit 0
fi
JRL_PYTHON=$python bash "$JRL_TOP/tests/t0510-transformers.sh"
