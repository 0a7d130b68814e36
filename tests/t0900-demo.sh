#!/usr/bin/env bash
# The demo learns: one seed, without the controls (all seeds and controls: make check-slow).
. "$(dirname "$0")/tap.sh"

"$JRL_TOP/pipelines/demo" --seed 0 --no-controls --out demo > demo.txt 2> demo.err
status=$?
sed 's/^/# /' demo.txt
ok "the demo ends well" sh -c "cat demo.err; exit $status"
read -r before after < <(sed -n 's/^demo: avg@8 \([0-9.]*\) -> \([0-9.]*\) in [0-9]* s$/\1 \2/p' demo.txt)
ok "it starts at 0.40 or below" awk -v x="${before:-nan}" 'BEGIN { exit !(x ~ /^[0-9.]+$/ && x <= 0.40) }'
ok "it reaches 0.80" awk -v x="${after:-nan}" 'BEGIN { exit !(x ~ /^[0-9.]+$/ && x >= 0.80) }'
ok "at least 90 % of the first responses hold a box" awk -v x="$(sed -n 's/^boxed *\([0-9.]*\) .*/\1/p' demo.txt)" 'BEGIN { exit !(x ~ /^[0-9.]+$/ && x >= 0.90) }'
done_testing
