#!/usr/bin/env bash
# The demo learns: one seed, without the controls (all seeds and controls: make check-slow).
# shellcheck disable=SC2016 # a text for eval
. "$(dirname "$0")/tap.sh"

"$JRL_TOP/pipelines/demo" --seed 0 --no-controls --out demo > demo.txt 2> demo.err
status=$?
sed 's/^/# /' demo.txt
ok "the demo ends well" sh -c "cat demo.err; exit $status"
read -r before after < <(sed -n 's/^demo: avg@8 \([0-9.]*\) -> \([0-9.]*\) in [0-9]* s$/\1 \2/p' demo.txt)
ok "it starts at 0.40 or below" awk -v x="${before:-nan}" 'BEGIN { exit !(x ~ /^[0-9.]+$/ && x <= 0.40) }'
ok "it reaches 0.80" awk -v x="${after:-nan}" 'BEGIN { exit !(x ~ /^[0-9.]+$/ && x >= 0.80) }'
ok "at least 90 % of the first responses hold a box" awk -v x="$(sed -n 's/^boxed *\([0-9.]*\) .*/\1/p' demo.txt)" 'BEGIN { exit !(x ~ /^[0-9.]+$/ && x >= 0.90) }'
# The problems: enough for a test, none of it in training, two levels, each with its accuracy.
problems() { jrl-view --fields problem "demo/$1.jrl" | sort; }
ok "at least 500 test problems, all different" test "$(problems test | uniq | wc -l)" -ge 500
ok "none of them is a training problem" test -z "$(comm -12 <(problems test) <(problems train))"
ok "two levels" test "$(jrl-view --fields extra demo/test.jrl | sort -u | wc -l)" = 2
ok "an accuracy for each" test "$(grep -Ec '^[0-9] digits +[01]\.?[0-9]* +[01]\.?[0-9]*$' demo.txt)" = 2
possible=$(awk 'BEGIN { print (90 * 90 + 900 * 900) * 12 / 13 }')
ok "operands of two and three digits: $possible possible problems" test "$(problems train | grep -cE '"What is ([1-9][0-9] \+ [1-9][0-9]|[1-9][0-9]{2} \+ [1-9][0-9]{2})\?"')" = "$(problems train | wc -l)"
tells_why() { exits 2 "$JRL_TOP/pipelines/demo" --steps 1 --batch-size 3 --example-steps 0 --test-problems 4 --out fails 2> fails.err && grep -- --mini-batch fails.err; }
ok "a run that fails says why" tells_why
mkdir theirs && echo mine > theirs/file
ok "a folder of something else is left alone" fails_with 2 "'theirs' exists and holds no earlier demo" "$JRL_TOP/pipelines/demo" --out theirs
ok "... as it was" test "$(cat theirs/file)" = mine
ok "an earlier demo is replaced" eval '! "$JRL_TOP/pipelines/demo" --steps 1 --batch-size 3 --example-steps 0 --test-problems 5 --out fails 2> err && test "$(jrl-view fails/test.jrl | wc -l)" = 5'
ok "an option without its value" fails_with 2 "unknown option '--seed', or it needs a value" "$JRL_TOP/pipelines/demo" --seed
ok "a seed that is none" fails_with 2 "'x' is no whole number" "$JRL_TOP/pipelines/demo" --seed x
done_testing
