# jrl-eval: every number against numpy's, the table, incomplete and repeated rollouts, splitting by fields.
# shellcheck shell=bash
. "$(dirname "$0")/tap.sh"
golden=$JRL_TOP/tests/golden

jrl-pack "$golden/eval.jsonl" > all.jrl
jrl-eval --json --by source --by extra.level all.jrl > got.json
ok 'all numbers are those of numpy' jq -n --slurpfile want "$golden/eval.json" --slurpfile got got.json -f "$golden/compare.jq"
ok 'one line of JSON' test "$(wc -l < got.json)" = 1
ok 'the order of rollouts does not matter' cmp got.json <(sort "$golden/eval.jsonl" | jrl-pack | jrl-eval --json --by source --by extra.level)
jq -c 'select(.source == "alpha")' "$golden/eval.jsonl" | jrl-pack > alpha.jrl
jq -c 'select(.source != "alpha")' "$golden/eval.jsonl" | jrl-pack > others.jrl
ok 'joined streams' cmp got.json <(cat alpha.jrl others.jrl | jrl-eval --json --by source --by extra.level)
ok 'the benchmark is what it is alone' cmp <(jq -c .overall <(jrl-eval -j alpha.jrl)) <(jq -c .by.source.alpha got.json)

jrl-eval all.jrl > table
ok 'a row for each benchmark, their mean, and all' test "$(sed -E 's/  .*//' table | tr '\n' '|')" = 'source|alpha|beta|gamma|mean of rows|all problems|'
ok 'columns are aligned' test "$(awk '{ print length($0) }' table | sort -u | wc -l)" = 1
ok 'the number of the JSON is in the table' grep -q "^beta .* $(jq -r '.by.source.beta.avg * 10000 | round / 10000' got.json)" table
ok 'one benchmark is one row' test "$(jrl-eval alpha.jrl | wc -l)" = 2
ok 'two fields, two tables' test "$(jrl-eval --by source --by extra.level all.jrl | grep -c problems)" = 4
ok 'the k that were asked for' test "$(jrl-eval -j --k 3,1 alpha.jrl | jq -c '.overall.pass | keys_unsorted')" = '["3","1"]'
ok 'a k beyond the samples is not known' test "$(jrl-eval -j --k 9 alpha.jrl | jq -c '.overall.pass')" = '{"9":null}'
# shellcheck disable=SC2016 # jq's variables
ok 'a wider interval' jq -e -n --slurpfile a <(jrl-eval -j --confidence 0.99 all.jrl) --slurpfile b got.json '$a[0].overall.avg_high > $b[0].overall.avg_high and $a[0].overall.avg == $b[0].overall.avg'
ok 'into a file' bash -c 'jrl-eval -j -o out.json --by source --by extra.level all.jrl && cmp out.json got.json'

rollout() { # UID SAMPLE SAMPLES CORRECT [MORE]
    echo "{\"uid\":$1,\"sample\":$2,\"samples\":$3,\"correct\":$4${5:-}}"
}
{ rollout 1 0 2 true; rollout 1 1 2 false; rollout 2 1 2 true; } | jrl-pack --kind rollout > partial.jrl
ok 'a missing sample' fails_with 3 'problem uid 2 .*1 of 2 samples; --partial' jrl-eval partial.jrl
ok '... scored by what is there' test "$(jrl-eval -j --partial partial.jrl | jq -c '.overall | [.avg, .samples_min, .samples_max, .tokens, .truncated, .entropy, .reward]')" = '[0.75,1,2,null,null,null,null]'
ok 'a repeated sample' fails_with 3 'problem uid 1 .*sample 0 comes twice' jrl-eval <({ rollout 1 0 2 true; rollout 1 1 2 false; rollout 1 0 2 true; } | jrl-pack --kind rollout)
ok '... also with --partial' fails_with 3 'comes twice' jrl-eval --partial <(cat partial.jrl partial.jrl)
ok 'responses without numbers' test "$(printf '{"uid":%d,"correct":%s}\n' 1 true 1 false 2 true | jrl-pack --kind rollout | jrl-eval -j | jq -c '.overall | [.avg, .samples_min, .samples_max]')" = '[0.75,1,2]'
ok '... beside numbered ones' fails_with 3 "problem uid 1 .*'samples' is" jrl-eval <({ rollout 1 0 2 true; echo '{"uid":1,"correct":true}'; } | jrl-pack --kind rollout)
ok '... or numbered by half' fails_with 3 "field 'samples' is missing" jrl-eval <(echo '{"uid":1,"correct":true,"sample":0}' | jrl-pack --kind rollout)
ok 'one uid in two benchmarks is two problems' test "$({ rollout 1 0 1 true ',"source":"a"'; rollout 1 0 1 false ',"source":"b"'; } | jrl-pack --kind rollout | jrl-eval -j | jq .overall.problems)" = 2
ok 'one problem drawn twice is two' test "$({ rollout 1 0 1 true ',"draw":1'; rollout 1 0 1 false ',"draw":5'; } | jrl-pack --kind rollout | jrl-eval -j | jq .overall.problems)" = 2
ok 'sizes that disagree' fails_with 3 "problem uid 1 .*'samples' is 2 in one rollout and 3" jrl-eval <({ rollout 1 0 2 true; rollout 1 1 3 true; } | jrl-pack --kind rollout)
ok 'a sample beyond its group' fails_with 3 'rollout of uid 1 is sample 2 of 2' jrl-eval <(rollout 1 2 2 true | jrl-pack --kind rollout)
ok 'not verified' fails_with 3 "record 1: field 'correct' is missing; jrl-verify" jrl-eval <(echo '{"uid":1,"sample":0,"samples":1,"text":""}' | jrl-pack)
ok 'a field of the rollout cannot split problems' fails_with 3 "field 'finish' differs between its rollouts" jrl-eval --by finish <({ rollout 1 0 2 true ',"finish":"stop"'; rollout 1 1 2 true ',"finish":"length"'; } | jrl-pack --kind rollout)
ok 'a field that nobody has' fails_with 3 "no rollout has a field 'extra.levle'" jrl-eval --by extra.levle all.jrl
ok 'a field that is a map' fails_with 3 "field 'extra' is a map" jrl-eval --by extra all.jrl
ok 'numbers are sorted as numbers' test "$({ rollout 1 0 1 true ',"level":10'; rollout 2 0 1 true ',"level":9'; rollout 3 0 1 true ',"level":"x"'; rollout 4 0 1 true; } |
    jrl-pack --kind rollout | jrl-eval -j --by level | jq -c '.by.level | keys_unsorted')" = '["9","10","x",""]'
for k in 0 x 1,,2 '1,' ',1' 65537 1,1 -1 ''; do
    ok "--k '$k'" fails_with 2 "'?--k" jrl-eval --k "$k" all.jrl
done
ok 'no rollouts, no numbers' test "$(jrl-view --header all.jrl | head -n 1 | jrl-pack | jrl-eval -j | jq -c '.overall | [.problems, .avg]')" = '[0,null]'
ok 'an escape sequence does not reach the terminal' bash -c "echo '{\"uid\":1,\"sample\":0,\"samples\":1,\"correct\":true,\"source\":\"a\\u001b[31m\"}' | jrl-pack --kind rollout | jrl-eval | grep -q '^a?\[31m'"
done_testing
