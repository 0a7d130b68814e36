#!/usr/bin/env bash
# Equality of expressions beside SymPy: 10,000 random pairs (algebra_sympy.py says which). JRL_SYMPY_PYTHON names a Python
# with SymPy; without it SymPy is installed from PyPI. JRL_SYMPY_PAIRS=N asks for another number.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/tap.sh"

python=${JRL_SYMPY_PYTHON:-$JRL_TOP/build/reference-sympy/bin/python}
if [ -z "${JRL_SYMPY_PYTHON:-}" ]; then "$JRL_TOP/tests/reference/get.sh" --sympy >&2; fi
driver=$JRL_BUILD/tests/slow/algebra_pairs
agree() { "$python" "$JRL_TOP/tests/slow/algebra_sympy.py" "$driver" --pairs "${JRL_SYMPY_PAIRS:-10000}" > report; }
# What it must notice: a driver that says the opposite now and then.
liar() {
    printf '#!/bin/sh\n"%s" | sed "2~10s/equal/different/"\n' "$driver" > liar && chmod +x liar
    exits 1 "$python" "$JRL_TOP/tests/slow/algebra_sympy.py" "$PWD/liar" --pairs 300
}

if ! "$python" -c 'import sympy' 2> /dev/null; then
    skip 'expressions beside SymPy' 'could not be installed from PyPI; JRL_SYMPY_PYTHON names a Python that has it'
else
    ok 'build the driver' make -s -C "$JRL_TOP" BUILD="$(basename "$JRL_BUILD")" "${driver#"$JRL_TOP"/}"
    ok 'a driver that is wrong now and then is noticed' liar
    ok 'at least 99.9 % of the verdicts are those of SymPy, and the other pairs are explained' agree
    sed 's/^/# /' report
fi
done_testing
