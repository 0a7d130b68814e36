#!/usr/bin/env bash
# The rules for answers beside their executable reference, on 160,000 made-up inputs: no verdict and no normal form differs.
# JRL_SEEDS is a list of seeds; the reference lies beside the project, where it is there.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/tap.sh"

python=
for candidate in "${JRL_PYTHON:-python3}" python3; do
    if "$candidate" -c 'import mpmath' 2> /dev/null; then python=$candidate; fi
done
if ! [ -f "$SHARED/verify/proto_all.py" ] || [ -z "$python" ]; then
    skip 'verdicts of the executable reference' "no $SHARED/verify, or no Python with mpmath"
    done_testing
    exit 0
fi
ok 'the program that answers is built' make -s -C "$JRL_TOP" "build/$(basename "$JRL_BUILD")/tests/slow/verdicts" BUILD="$(basename "$JRL_BUILD")"
for seed in ${JRL_SEEDS:-2 3}; do
    ok "verdicts of the executable reference, seed $seed" "$python" "$JRL_TOP/tests/slow/verdicts.py" "$JRL_BUILD/tests/slow/verdicts" "$SHARED/verify" 10000 "$seed"
done
done_testing
