# jrl-eval: every number against numpy's, the table, incomplete and repeated rollouts, splitting by fields.
# shellcheck shell=bash
. "$(dirname "$0")/tap.sh"
golden=$JRL_TOP/tests/golden

jrl-pack "$golden/eval.jsonl" > all.jrl
jrl-pack --kind rollout "$golden/eval-other.jsonl" > other.jrl
jrl-eval --json --by source --by extra.level --compare other.jrl all.jrl > got.json
same_numbers() { jq -n --slurpfile want "$1" --slurpfile got "$2" -f "$golden/compare.jq"; } # WANT GOT
ok 'all numbers are those of numpy' same_numbers "$golden/eval.json" got.json
ok 'one line of JSON' test "$(wc -l < got.json)" = 1
ok 'the order of rollouts does not matter' cmp got.json \
    <(sort "$golden/eval.jsonl" | jrl-pack | jrl-eval --json --by source --by extra.level --compare <(sort "$golden/eval-other.jsonl" | jrl-pack --kind rollout) | sed 's|/dev/fd/[0-9]*|other.jrl|')
jq -c 'select(.source == "alpha")' "$golden/eval.jsonl" | jrl-pack > alpha.jrl
jq -c 'select(.source != "alpha")' "$golden/eval.jsonl" | jrl-pack > others.jrl
jrl-eval --json --by source --by extra.level all.jrl > alone.json
ok 'without another policy: nothing about it' cmp <(jq -c . alone.json) <(jq -c 'del(.. | objects | .compare)' got.json)
ok 'joined streams' cmp alone.json <(cat alpha.jrl others.jrl | jrl-eval --json --by source --by extra.level)
ok 'the benchmark is what it is alone' cmp <(jq -c .overall <(jrl-eval -j alpha.jrl)) <(jq -c .by.source.alpha alone.json)
ok 'the k that were asked for' test "$(jrl-eval -j --k 3,1 alpha.jrl | jq -c '.overall.pass | keys_unsorted')" = '["3","1"]'
ok 'a k beyond the samples is not known' test "$(jrl-eval -j --k 9 alpha.jrl | jq -c '.overall.pass')" = '{"9":null}'
# shellcheck disable=SC2016 # jq's variables
ok 'a wider interval' jq -e -n --slurpfile a <(jrl-eval -j --confidence 0.99 all.jrl) --slurpfile b got.json '$a[0].overall.avg_high > $b[0].overall.avg_high and $a[0].overall.avg == $b[0].overall.avg'
ok 'into a file' bash -c 'jrl-eval -j -o out.json --by source --by extra.level all.jrl && cmp out.json alone.json'

# Layouts. In a table for people: scores, responses, judge, two other rules.
jrl-eval all.jrl > table
labels='source|alpha|beta|gamma|mean of rows|all problems|'
ok 'a row for each benchmark, their mean, and all' test "$(sed -E 's/  .*//' table | tr '\n' '|')" = "$labels|$labels|$labels|$labels|$labels"
aligned() { awk -v RS= -F'\n' '{ for (i = 2; i <= NF; i++) if (length($i) != length($1)) exit bad = 1 } END { exit bad || NR < 5 }' "$1"; } # FILE
ok 'columns are aligned' aligned table
ok 'the number of the JSON is in the table' grep -q "^beta .* $(jq -r '.by.source.beta.avg * 10000 | round / 10000' got.json)" table
ok 'one benchmark is one row' test "$(jrl-eval alpha.jrl | awk -v RS= -F'\n' '{ print NF }' | sort -u)" = 2
ok 'two fields, two sets of tables, and that N differs within levels' test "$(jrl-eval --by source --by extra.level all.jrl | awk -v RS= '{ print $1 }' | uniq -c | xargs)" = '5 source 6 extra.level'
ok 'another policy, another table' test "$(jrl-eval --compare other.jrl all.jrl | awk -v RS= -F'\n' 'NR > 5 { print $1 }' | xargs)" = \
    'source avg@N other difference 95% interval better equal worse other: other.jrl'
ok 'Markdown: the same cells' cmp <(tr -s ' ' < table) <(jrl-eval --format markdown all.jrl | grep -v '^|---' | tr '|' ' ' | tr -s ' ' | sed 's/^ //; s/ $//')
ok '... with a rule under each heading' test "$(jrl-eval --format markdown all.jrl | grep -c '^|---|\(---:|\)*$')" = 5
jrl-eval --format tsv --by source --by extra.level --compare other.jrl all.jrl > all.tsv
ok 'TSV: one header, a line a row' test "$(cut -f 1-3 all.tsv | tr '\t\n' ' |')" = \
    'field row value|source value alpha|source value beta|source value gamma|source mean NA|extra.level value 0|extra.level value 1|extra.level value 2|extra.level mean NA|NA all NA|'
from_tsv() { # FILE: the same numbers as the JSON has
    jq -R -s 'split("\n")[:-1] | map(split("\t")) | .[0] as $names | .[1:] | map([range(3; $names | length) as $i | select(.[$i] != "NA") | { key: $names[$i], value: (.[$i] | tonumber) }] | from_entries)' "$1"
}
from_json() { # FILE
    jq '[.by.source[], .mean.source, .by["extra.level"][], .mean["extra.level"], .overall] | map(. as $row | [paths(type == "number")] | map({ key: join("."), value: (. as $p | $row | getpath($p)) }) | from_entries)' "$1"
}
ok '... with every number in full' test "$(from_tsv all.tsv | values -S)" = "$(from_json got.json | values -S)"
ok '... and NA where there is none' test "$(awk -F'\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i } $3 == "beta" { print $at["pass.8"] }' all.tsv)" = NA
ok '--json is --format json' cmp <(jrl-eval -j all.jrl) <(jrl-eval --format json all.jrl)
ok '... and not another one' fails_with 2 '--json and --format tsv contradict' jrl-eval -j --format tsv all.jrl
ok 'a format that is none' fails_with 2 "'html'" jrl-eval --format html all.jrl

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
ok 'an empty text is no value' test "$({ rollout 1 0 1 true ',"level":""'; rollout 2 0 1 true; } | jrl-pack --kind rollout | jrl-eval -j --by level | jq -c '.by.level[""].problems')" = 2
for k in 0 x 1,,2 '1,' ',1' 65537 1,1 -1 ''; do
    ok "--k '$k'" fails_with 2 "'?--k" jrl-eval --k "$k" all.jrl
done
ok 'no rollouts, no numbers' test "$(jrl-view --header all.jrl | head -n 1 | jrl-pack | jrl-eval -j | jq -c '.overall | [.problems, .avg, .best, .tokens, .distinct_4gram, .solve_none]')" = '[0,null,null,null,null,0]'
ok 'an escape sequence does not reach the terminal' bash -c "echo '{\"uid\":1,\"sample\":0,\"samples\":1,\"correct\":true,\"source\":\"a\\u001b[31m\"}' | jrl-pack --kind rollout | jrl-eval | grep -q '^a?\[31m'"

# What was said in the text.
ok 'responses without text: nothing about it' test "$(rollout 1 0 1 true | jrl-pack --kind rollout | jrl-eval -j | values | jq -c '.overall | [.format_errors, .distinct_4gram]')" = '[null,null]'
ok 'an empty one has no box and no 4-grams' test "$(rollout 1 0 1 true ',"text":""' | jrl-pack --kind rollout | jrl-eval -j | values | jq -c '.overall | [.format_errors, .distinct_4gram]')" = '[1,0]'
ok 'a response that was cut in the word' test "$({ rollout 1 0 2 true ',"text":"boxe"'; rollout 1 1 2 true ',"text":"unboxed"'; } | jrl-pack --kind rollout | jrl-eval -j | jq .overall.format_errors)" = 1
case $JRL_BUILD in
*asan) skip 'memory does not grow with the responses' 'the sanitizers map terabytes' ;;
*)
    perl -e 'for my $i (0 .. 7) { print qq({"uid":1,"sample":$i,"samples":8,"correct":true,"text":"), join(" ", map { $i * 280000 + $_ } 1 .. 280000), qq("}\n) }' |
        jrl-pack --kind rollout > long.jrl
    ok 'memory does not grow with the responses' bash -c 'ulimit -v 150000; jrl-eval -j long.jrl > long.json'
    ok '... and what was counted by a sample is near' jq -e '.overall | .distinct_4gram_sampling == 2 and (.distinct_4gram - 1 | fabs) < 0.005' long.json
    ok '... and is said' bash -c "jrl-eval long.jrl | tail -n 1 | grep -q '^4-grams: an estimate, from one in 2 '"
    ;;
esac

# Problems with different numbers of rollouts.
{ rollout 1 0 3 true; rollout 1 1 3 false; rollout 1 2 3 false; rollout 2 0 1 true; } | jrl-pack --kind rollout > unequal.jrl
ok 'each problem counts the same' test "$(jrl-eval -j unequal.jrl | values | jq -c '.overall | [.avg, .samples, .pass]')" = '[0.6666666666666666,null,{"1":0.6666666666666666}]'
ok '... which is said' bash -c "jrl-eval unequal.jrl | tail -n 1 | grep -q \"^source '': problems have 1-3 rollouts; each problem counts the same\""
ok '... also in Markdown' bash -c "jrl-eval --format markdown unequal.jrl | tail -n 1 | grep -q '^- source'"
ok '... and not where they are equal' bash -c '! grep -q "problems have" table'

# A judge after the rules.
judged() { # UID SAMPLE SAMPLES CORRECT RULE VERDICT [JUDGE]
    rollout "$1" "$2" "$3" "$4" ",\"source\":\"${source:-a}\",\"rule_correct\":$5,\"judge_verdict\":$6${7:+,\"judge_correct\":$7}"
}
{ judged 1 0 4 true true null; judged 1 1 4 true false '"A"' true; judged 1 2 4 false false '"C"' false; judged 1 3 4 false false '"Well, A"' false; } > judged.jsonl
ok 'rules, judge, and who was asked' test "$(jrl-pack --kind rollout judged.jsonl | jrl-eval -j | jq -c '.overall | [.avg, .judge.rule_avg, .judge.by_rule, .judge.by_judge, .judge.rejected, .judge.invalid, .judge.other, .judge.not_asked]')" = \
    '[0.5,0.25,1,1,2,1,1,0]'
{ cat judged.jsonl; rollout 1 0 1 false ',"source":"b"'; } | jrl-pack --kind rollout > half-judged.jrl
ok 'a benchmark without a judge' test "$(jrl-eval -j half-judged.jrl | jq -c '[.by.source.a.judge.by_judge, .by.source.b.judge, .overall.judge, .mean.source.judge]')" = '[1,null,null,null]'
ok '... has dashes' test "$(jrl-eval half-judged.jrl | awk -v RS= -F'\n' 'END { print $3 }' | xargs)" = 'b - - 0.0000 - - - - - - -'
ok 'no judge, no table of it' bash -c '! jrl-eval partial.jrl --partial | grep -q judge'
ok 'a verdict that is neither' fails_with 3 "record 1: field 'correct' is false, but 'rule_correct' is false and 'judge_correct' true" jrl-eval <(judged 1 0 1 false false '"A"' true | jrl-pack --kind rollout)
ok 'a judge without rules' fails_with 3 "field 'rule_correct' is missing" jrl-eval <(rollout 1 0 1 true ',"judge_verdict":"A","judge_correct":true' | jrl-pack --kind rollout)
ok 'a verdict without its meaning' fails_with 3 "field 'judge_correct' is missing" jrl-eval <(judged 1 0 1 false false '"B"' | jrl-pack --kind rollout)

# Other rules.
ok 'a benchmark without the other rule' test "$({ rollout 1 0 1 true ',"source":"a","polaris.correct":false'; rollout 1 0 1 false ',"source":"b"'; } | jrl-pack --kind rollout | jrl-eval -j |
    jq -c '[.also, .by.source.a.also.polaris.first_only, .by.source.b.also, .overall.also]')" = '[["polaris"],1,{},{}]'
for i in 0 1 2 3; do printf '{"uid":1,"answer":"5","sample":%d,"samples":4,"text":"so \\\\boxed{%d} answer: 4"}\n' $i $((i + 3)); done | jrl-pack --kind rollout > plain.jrl
ok 'as jrl-verify says them' test "$(jrl-verify -q --rule dapo --also dapo-minerva plain.jrl | jrl-eval | awk -v RS= -F'\n' 'END { print $1; print $2 }' | xargs)" = \
    'source dapo dapo-minerva both right only dapo only dapo-minerva both wrong (none) 0.2500 0.0000 0 1 0 3'
ok 'a verdict that is none' fails_with 3 "field 'polaris.correct' is a string, not a boolean" jrl-eval <(rollout 1 0 1 true ',"polaris.correct":"yes"' | jrl-pack --kind rollout)
ok 'more rules than there are' fails_with 3 "'r16.correct' is the verdict of one more rule than 16" jrl-eval <(rollout 1 0 1 true "$(for i in {0..16}; do printf ',"r%d.correct":true' "$i"; done)" | jrl-pack --kind rollout)

# Another policy.
jrl-eval -j --compare all.jrl other.jrl > swapped.json
# shellcheck disable=SC2016 # jq's variables
ok 'the other way round the sign changes' jq -e -n --slurpfile a swapped.json --slurpfile b got.json '$a[0].overall.compare as $x | $b[0].overall.compare as $y |
    ($x.difference + $y.difference | fabs) < 1e-12 and ($x.difference_low + $y.difference_high | fabs) < 1e-12 and [$x.better, $x.equal, $x.worse] == [$y.worse, $y.equal, $y.better]'
ok 'itself: no difference' test "$(jrl-eval -j --compare all.jrl all.jrl | values | jq -c '.mean.source.compare | [.difference, .difference_low, .difference_high, .equal]')" = '[0,0,0,24]'
jq -c 'select(.source != "beta" or .uid != 7)' "$golden/eval-other.jsonl" | jrl-pack --kind rollout > fewer.jrl
ok 'a problem the other lacks' fails_with 3 "problem uid 7 of source 'beta' is in 'all.jrl' and not in 'fewer.jrl'" jrl-eval --compare fewer.jrl all.jrl
ok 'a problem that only the other has' fails_with 3 "problem uid 7 of source 'beta' is in 'all.jrl' and not in 'fewer.jrl'" jrl-eval --compare all.jrl fewer.jrl
ok 'an incomplete one' fails_with 3 "'partial.jrl': problem uid 2 .*1 of 2 samples" jrl-eval --compare partial.jrl all.jrl
{ rollout 1 0 1 true; echo '{"uid":1}'; } | jrl-pack --kind rollout -o bad.jrl
ok 'a record of it that is none' fails_with 3 "'bad.jrl': record 2: field 'correct' is missing" jrl-eval --compare bad.jrl all.jrl
ok 'a file that is not there' fails_with 3 "cannot open 'nowhere.jrl'" jrl-eval --compare nowhere.jrl all.jrl
ok 'standard input twice' fails_with 2 'standard input can be read once' jrl-eval --compare - < all.jrl
ok 'judged by another rule' bash -c "jrl-eval --compare <(sed 's/\"dapo\"/\"exact\"/' '$golden/eval-other.jsonl' | jrl-pack --kind rollout) all.jrl 2>&1 > /dev/null | grep -q 'warning: .* were judged by different rules'"

# Problems that must be there.
for source in alpha beta gamma; do
    jq -c --arg s $source 'select(.source == $s) | { uid, source, problem, answer }' "$golden/eval.jsonl" | sort -u | jrl-pack --kind problem > $source.problems
done
ok 'all that were expected' cmp <(jrl-eval -j all.jrl) <(jrl-eval -j --expect alpha.problems --expect beta.problems --expect gamma.problems all.jrl)
ok 'a benchmark that is missing' fails_with 3 "'beta.problems': record 1: problem uid 0 of source 'beta' has no rollouts" jrl-eval --expect alpha.problems --expect beta.problems alpha.jrl
ok 'a problem that is missing' fails_with 3 "'beta.problems': record [0-9]*: problem uid 7 of source 'beta' has no rollouts" jrl-eval --expect beta.problems fewer.jrl
ok '... by standard input' fails_with 3 "standard input: record [0-9]*: problem uid 7 of source 'beta'" jrl-eval --expect - fewer.jrl < beta.problems
head -c 90 beta.problems > cut.problems
ok 'a cut list of problems' fails_with 3 "'cut.problems'.*cut" jrl-eval --expect cut.problems all.jrl
done_testing
