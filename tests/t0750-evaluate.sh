#!/usr/bin/env bash
# The nine benchmarks by pipelines/evaluate: the table, kills and what is kept, shards, options, bad folders. The policy is
# tiny and random, so where a figure matters the responses are written by hand.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"
# shellcheck source=tests/kill.sh
. "$JRL_TOP/tests/kill.sh"
evaluate=$JRL_TOP/pipelines/evaluate
names='AIME24 AIME25 AMC23 MATH-500 Minerva OlympiadBench HMMT25 BRUMO25 CMIMC25'
quiet() { "$@" > out 2> err || { cat out err; return 1; }; }
same_text() { [ "$1" = "$2" ] || { printf 'got  %s\nwant %s\n' "$1" "$2"; return 1; }; }

# The two layouts of the published files; white space at the ends of a problem and of an answer, as some of those have.
mkdir data
for benchmark in aime24:AIME24 aime25:AIME25 amc23:AMC23 math500:MATH-500 minerva:Minerva olympiadbench:Olympiad-Bench; do
    for n in 1 2 3; do
        printf '{"prompt":[{"content":"What is %d + 1?\\n","role":"user"}],"data_source":"%s","reward_model":{"ground_truth":" %d","style":"rule"},"extra_info":{"index":%d}}\n' \
            "$n" "${benchmark#*:}" $((n + 1)) "$n"
    done > "data/${benchmark%:*}.jsonl"
done
for benchmark in hmmt25 brumo25 cmimc25; do
    for n in 1 2 3 4; do printf '{"problem_idx":%d,"problem":"What is %d + 2?","answer":"%d"}\n' "$n" "$n" $((n + 2)); done > "data/$benchmark.jsonl"
done
jrl-model make -q --shape dim=32,layers=2,heads=2,kv-heads=1,mlp=64,positions=8192 -o policy
new=(--policy policy --data data --samples '2,Minerva=1' --max-tokens 24 --threads 1)

# ---- in one go ----
ok 'nine benchmarks in one go' quiet "$evaluate" "${new[@]}" whole
ok 'the table is printed' cmp out whole/table.txt
cp err plan
# shellcheck disable=SC2046,SC2086 # names without blanks
ok 'a whole stream each' jrl-check $(printf 'whole/%s.jrl ' $names)
ok 'columns as in the paper' same_text "$(head -n 1 whole/table.txt | xargs)" "Model $names Avg"
ok 'a row for the policy, and eight published ones' same_text "$(grep -cE '^[A-Za-z].* ([0-9]+\.[0-9]{2}|-)$' whole/table.txt)" 9
ok 'Markdown: a heading, five rows for the policy, eight published' same_text "$(grep -c '^|.*|$' whole/table.md)" 15
ok 'JSON: columns, counts and what jrl-eval said' jq -e '.columns[5] == "OlympiadBench" and .problems == [3,3,3,3,3,3,4,4,4] and
    .samples == [2,2,2,2,1,2,2,2,2] and .eval.overall.problems == 30 and (.published | length) == 8' whole/table.json
of() { jrl-view --plain --fields "$2" -- "$1" | jq -c ".$2" | uniq; }
# shellcheck disable=SC2016 # a backslash of the prompt
ok 'problems are trimmed, and one blank stands before the sentence' same_text "$(of whole/AIME24.jrl prompt | head -n 1)" \
    '"What is 1 + 1? Please reason step by step, and put your final answer within \\boxed{}."'
ok 'answers are trimmed' same_text "$(of whole/MATH-500.jrl answer | xargs)" '2 3 4'
ok 'sampled as published' same_text "$(jrl-view --plain --fields temperature,top_p,seed,verifier whole/CMIMC25.jrl | sort -u)" \
    "{\"temperature\":0.7,\"top_p\":0.9,\"seed\":0,\"verifier\":\"polaris\"}"
ok 'the table says that there was no judge' grep -q "^verdicts: rule polaris alone, without a judge" whole/table.txt
ok 'and what differs from the protocol' grep -q '^other than published: .*AIME24 2 (32).*Minerva 1 (4).*at most 24 tokens (31744)' whole/table.txt
ok 'published averages are the means of nine' jq -e '[.published[] | select(.avg) | .avg - ((.values | add) / 9) | fabs] | length == 7 and max < 0.02' whole/table.json # DeepScaleR's is printed as 44.88 for 44.898
state() { stat -c '%n %Y %i' "$1"/*.jrl "$1"/samples/*.jrl "$1"/problems/*.jrl; }
before=$(state whole)
ok 'a finished one has nothing to do' quiet "$evaluate" whole
ok 'and makes nothing again' same_text "$(state whole)" "$before"

ok 'no more is written than was planned' test "$(cat whole/*.jrl whole/samples/*.jrl | wc -c)" -le "$(sed -n 's/^written at most *\([0-9]*\) bytes/\1/p' plan)"

# ---- figures, from responses written by hand: the first K of each benchmark are right ----
with_text() { perl -pe "$1"' s/"text":"(?:[^"\\]|\\.)*"/"text":"$text"/'; } # jq would round the uids
# shellcheck disable=SC2016 # perl's variables
by_hand() { # NAME K: the benchmark's samples
    jrl-view "whole/samples/$1.jrl" | with_text '($answer) = /"answer":"(\d+)"/; $answer = "no" if $. > '"$2"'; $text = "So \\\\boxed{$answer}.";' |
        jrl-pack --kind rollout
}
mkdir -p known/samples && cp -R whole/problems whole/recipe known
right=(6 3 0 5 2 6 4 8 1)
k=0
for name in $names; do by_hand "$name" "${right[k++]}" > "known/samples/$name.jrl"; done
ok 'the samples that are there are judged' quiet "$evaluate" --name 'by hand' --change known
ok 'their row' same_text "$(grep '^by hand' known/table.txt | xargs)" 'by hand 100.00 50.00 0.00 83.33 66.67 100.00 50.00 100.00 12.50 62.50'
ok 'the same in Markdown' grep -qx '| by hand | 100.00 | 50.00 | 0.00 | 83.33 | 66.67 | 100.00 | 50.00 | 100.00 | 12.50 | 62.50 |' known/table.md
ok 'the same in JSON' jq -e '.avg.values[0] == 100 and (.avg.avg - 62.5 | fabs) < 1e-9 and .low.values[1] < 50 and .high.values[1] > 50' known/table.json

# ---- what is refused, and what --change accepts ----
ok 'another temperature is refused' fails_with 2 'what is sampled keeps its temperature' "$evaluate" --temperature 1 whole
ok 'with the difference' grep -q '^> temperature 1' .stderr
ok 'also with --change' fails_with 2 'what is sampled keeps its temperature' "$evaluate" --temperature 1 --change whole
ok 'another number of responses' fails_with 2 'keeps its benchmark.AMC23' "$evaluate" --samples AMC23=3 --change whole
jrl-model make -q --seed 1 --shape dim=32,layers=2,heads=2,kv-heads=1,mlp=64,positions=8192 -o other
ok 'another policy' fails_with 2 'keeps its policy-id' "$evaluate" --policy other --change whole
cp -R data changed && sed -i 's/1 + 1/1 + 5/' changed/amc23.jsonl
ok 'other problems' fails_with 2 'keeps its benchmark.AMC23' "$evaluate" --data changed --change whole
ok 'another rule is refused' fails_with 2 '--change, without --shard, records them and judges the samples anew' "$evaluate" --rule exact known
samples=$(stat -c '%n %Y %i' known/samples/*)
ok 'and accepted with --change' quiet "$evaluate" --rule exact --change known
ok 'which judges anew' same_text "$(of known/AIME24.jrl verifier)" '"exact"'
ok 'what was sampled' same_text "$(stat -c '%n %Y %i' known/samples/*)" "$samples"
ok 'and is on record' grep -q "^#   < rule polaris" known/recipe
ok 'a rule that there is not' fails_with 2 "none of: dapo" "$evaluate" "${new[@]}" --rule best nowhere
ok 'is said before anything is sampled' sh -c '! ls nowhere/samples/*'

# ---- a judge ----
printf 'Q {question} G {answer} R {response} ?\n' > judge.txt
few=(--policy policy --data data --samples 2 --max-tokens 24 --threads 1 --limit-problems 2)
judge=(--judge other --judge-prompt judge.txt --judge-max-tokens 4)
ok 'with a judge' quiet "$evaluate" "${few[@]}" --benchmarks Minerva,HMMT25 "${judge[@]}" judged
ok 'which is asked about what the rule rejects' jq -e -s 'length == 4 and all(.rule_correct == false and .judge_correct == false and (.judge | length) == 32)' \
    <(jrl-view --plain --fields rule_correct,judge_correct,judge judged/Minerva.jrl)
ok 'and is named below the table' grep -q "^verdicts: rule polaris, then judge other ($(jrl-model hash other)) on what it rejects" judged/table.txt
for i in 1 0; do quiet "$evaluate" "${few[@]}" --benchmarks Minerva,HMMT25 "${judge[@]}" --shard "$i/2" judged-parts; done
ok 'a shard asks the judge about what is its own' jq -e -s 'length > 0 and length < 4 and all(.judge | length == 32)' \
    <(jrl-view --plain --fields judge judged-parts/judged/Minerva.1-2.jrl)
ok 'together they are as one' sh -c "'$evaluate' judged-parts > /dev/null 2>&1 && jrl-view judged-parts/Minerva.jrl > parts.jsonl && jrl-view judged/Minerva.jrl | cmp - parts.jsonl"
mkdir judging && cp -R judged/problems judged/samples judged/recipe judging
jrl-view --header judged/Minerva.jrl | sed '1,3!d; s/"judge_verdict":"[^"]*"/"judge_verdict":"kept"/' | jrl-pack -o judging/Minerva.jrl.part
ok 'verdicts that a kill left' quiet "$evaluate" judging
ok 'are not asked for again' same_text "$(of judging/Minerva.jrl judge_verdict | head -n 1)" '"kept"'
cut -c 2- judge.txt > other.txt
ok 'another prompt is refused' fails_with 2 'options differ' "$evaluate" --judge-prompt other.txt judged
ok 'and accepted with --change' quiet "$evaluate" --judge-prompt other.txt --change judged
ok 'what the rule alone says is there' same_text "$(grep '^  the rule alone' judged/table.txt | xargs)" 'the rule alone - - - - 0.00 - 0.00 - - -'
ok 'also of what it accepts' sh -c "cp -R known both && '$evaluate' --rule polaris ${judge[*]} --change both && grep -qE '^  the rule alone( +[0-9.]+){9} +62.50\$' both/table.txt"
ok 'no judge any more' quiet "$evaluate" --judge '' --judge-prompt '' --change judged
ok 'leaves no verdict of one' sh -c '! jrl-view --plain judged/Minerva.jrl | grep -q judge'
ok 'a judge without its prompt' fails_with 2 '--judge needs --judge-prompt' "$evaluate" --judge policy x
echo 'no fields' > bad.txt
ok 'a prompt without fields' fails_with 2 "bad.txt" "$evaluate" "${few[@]}" --judge other --judge-prompt bad.txt x
ok 'a judge that is not there' fails_with 3 "no folder '.*/none' of a judge" "$evaluate" "${few[@]}" --judge none --judge-prompt judge.txt x

# ---- some of the nine ----
ok 'two benchmarks, two problems each' quiet "$evaluate" "${few[@]}" --benchmarks HMMT25,AMC23 some
ok 'no average' same_text "$(grep '^policy' some/table.txt | tr -d '0-9.' | xargs)" 'policy - - - - - - - -'
ok 'and the table says so' grep -q '^no average: .*were not evaluated: AIME24 AIME25 MATH-500 Minerva OlympiadBench BRUMO25 CMIMC25$' some/table.txt
ok 'two problems' jq -e '.problems[2] == 2 and .problems[6] == 2 and .problems[0] == null' some/table.json
samples=$(stat -c '%n %Y %i' some/samples/*)
ok 'one more needs --change' fails_with 2 'options differ' "$evaluate" --benchmarks HMMT25,AMC23,Minerva some
ok 'and with it' quiet "$evaluate" --benchmarks HMMT25,AMC23,Minerva --change some
ok 'is sampled, the others not again' same_text "$(stat -c '%n %Y %i' some/samples/[AH]*)" "$samples"
ok 'and has its column' jq -e '.problems[4] == 2' some/table.json

# ---- kills: the records are those of an unbroken run ----
same_records() { # FOLDER
    local name
    for name in $names; do cmp <(jrl-view "whole/$name.jrl") <(jrl-view "$1/$name.jrl") || { echo "$name differs"; return 1; }; done
    diff <(jq -S 'del(.policy)' whole/table.json) <(jq -S 'del(.policy)' "$1/table.json")
}
killed() { # FOLDER SECONDS: kill -9 of driver and tools
    setsid "$evaluate" "${new[@]}" "$1" > /dev/null 2> err &
    local driver=$!
    sleep "$2"
    pkill -9 -s "$driver"
    wait "$driver"
    [ ! -e "$1/lock" ] || flock -w 20 "$1/lock" true # the dead may hold it a moment longer
    quiet "$evaluate" "${new[@]}" "$1" && same_records "$1"
}
for t in 0.3 0.8 1.4; do ok "kill -9 after $t s" killed "kill-$t" "$t"; done
if have_faults; then
    at_rename() { # FOLDER WHEN TO
        mkdir "$1"
        with_faults "$1" log "/$3"$'\n' "$2" session setsid -w "$evaluate" "${new[@]}" "$1" > /dev/null 2>&1
        [ $? -eq 137 ] || { echo 'was not killed'; return 1; }
        quiet "$evaluate" "${new[@]}" "$1" && same_records "$1"
    }
    ok 'killed before the recipe is there' at_rename k1 before recipe
    ok 'killed after samples are there' at_rename k2 after samples/Minerva.jrl
    ok 'killed before verdicts are there' at_rename k3 before AMC23.jrl
else
    skip 'kills at a file operation' 'tests/faults.so cannot be preloaded into this build'
fi
terminated() {
    "$evaluate" "${new[@]}" term > out 2> err &
    local driver=$!
    until [ -e term/samples/AIME25.jrl ] || ! kill -0 "$driver" 2> /dev/null; do sleep 0.01; done
    kill -TERM "$driver"
    wait "$driver"
    local status=$?
    [ "$status" -eq 75 ] || { echo "status $status"; cat err; return 1; }
    quiet "$evaluate" "${new[@]}" term && same_records term
}
ok 'TERM ends it with 75, and it goes on' terminated

# What a kill left is not sampled again: responses written by hand are still there. The longer of two leftovers counts.
mkdir taken && cp -R whole/problems whole/samples whole/recipe taken
with_sampling() { jrl-view --header whole/samples/HMMT25.jrl | head -n 1; }
leftover() { # GROUPS TEXT
    { with_sampling && jrl-cat -n $(($1 * 2)) --drain whole/samples/HMMT25.jrl | jrl-view | with_text "\$text = '$2';"; } | jrl-pack --no-provenance
}
rm taken/samples/HMMT25.jrl
leftover 1 one > taken/samples/HMMT25.jrl.part
leftover 2 two > taken/samples/HMMT25.jrl.cut
ok 'a cut benchmark is continued' quiet "$evaluate" taken
ok 'without sampling again what was there' same_text "$(of taken/HMMT25.jrl text | head -n 1)" '"two"'
ok 'and the rest is as ever' cmp <(jrl-view taken/HMMT25.jrl | tail -n 4) <(jrl-view whole/HMMT25.jrl | tail -n 4)

# ---- shards ----
for i in 0 1; do "$evaluate" "${new[@]}" --shard "$i/3" shards > "shard$i.out" 2> "shard$i.err" & done
wait
ok 'two shards at once' grep -q 'shard 1/3 is done' shard0.err shard1.err
ok 'without the third' fails_with 3 'shards are missing: AIME24 2/3, AIME25 2/3, .*CMIMC25 2/3; call with --shard' "$evaluate" shards
ok 'another number of shards' fails_with 2 'keeps its shards' "$evaluate" --shard 2/4 shards
ok 'the third, as srun starts it' env SLURM_PROCID=2 SLURM_NTASKS=3 "$evaluate" --shard slurm shards
ok 'joined' quiet "$evaluate" shards
ok 'they are as one run' same_records shards
ok 'a shard that is there is not made again' quiet "$evaluate" --shard 1/3 shards
ok 'without srun' fails_with 2 'SLURM_PROCID and SLURM_NTASKS are not set' "$evaluate" --shard slurm shards
ok 'a shard beyond the last' fails_with 2 'I goes from 0 to N-1' "$evaluate" --shard 3/3 shards
"$evaluate" "${few[@]}" --benchmarks AMC23 --shard 0/2 foreign 2> /dev/null && "$evaluate" "${few[@]}" --benchmarks AMC23 --temperature 1 --shard 1/2 warm 2> /dev/null
cp warm/samples/AMC23.1-2.jrl foreign/samples
ok 'a shard that was sampled otherwise' fails_with 3 'was sampled with other options than .*temperature=1.0' "$evaluate" foreign

# ---- bad folders ----
bad() { rm -rf bad && cp -R data bad; }
bad && rm bad/aime25.jsonl bad/minerva.jsonl
ok 'files that are missing are named' fails_with 3 "bad' lacks 'aime25.jsonl' \(AIME25\), 'minerva.jsonl' \(Minerva\)" "$evaluate" --policy policy --data bad x
bad && : > bad/amc23.jsonl
ok 'an empty file' fails_with 3 'import of AMC23 failed' sh -c "'$evaluate' --policy policy --data bad x 2>&1 | sed '/amc23/s/error:/:/' >&2; exit \${PIPESTATUS:-3}"
bad && printf '\n \n' > bad/amc23.jsonl
ok 'a file of blank lines' fails_with 3 "amc23.jsonl' has no rows" "$evaluate" --policy policy --data bad x
bad && sed 's/What/Say what/' data/aime25.jsonl >> bad/aime24.jsonl
ok 'two benchmarks in one file' fails_with 3 "aime24.jsonl' mixes benchmarks: its rows are of AIME24, AIME25" "$evaluate" --policy policy --data bad x
bad && cp data/olympiadbench.jsonl bad/math500.jsonl
ok 'another benchmark than the name says' fails_with 3 "math500.jsonl' should hold MATH-500, but its rows are of 'Olympiad-Bench'" "$evaluate" --policy policy --data bad x
ok 'two benchmarks in one stream' fails_with 3 "AMC23.jrl' has rollouts of HMMT25 besides" \
    sh -c "cp -R some mixed && jrl-cat -o mixed/AMC23.jrl --force some/AMC23.jrl some/HMMT25.jrl && '$evaluate' mixed"
ok 'which is left as it is' sh -c 'jrl-cat some/AMC23.jrl some/HMMT25.jrl | cmp - mixed/AMC23.jrl'
ok 'problems that are missing in one' fails_with 3 "problems/AMC23.jrl': record 2: problem uid [0-9]+ of source 'AMC23' has no rollouts" \
    sh -c "cp -R some short && jrl-cat -n 2 --drain some/AMC23.jrl > short/AMC23.jrl && '$evaluate' short"
mkdir theirs && echo mine > theirs/AIME24.jrl
ok 'a folder of something else' fails_with 3 'no recipe: it is no folder of this program' "$evaluate" "${new[@]}" theirs
ok 'keeps what it has' same_text "$(cat theirs/AIME24.jrl)" mine

# ---- the command line ----
ok 'no folder of benchmarks' fails_with 3 "no folder '.*/none' of benchmarks" "$evaluate" --policy policy --data none x
ok 'no policy' fails_with 3 "no policy folder '.*/none'" "$evaluate" --policy none --data data x
ok 'a new one without a policy' fails_with 2 'needs --policy DIR' "$evaluate" x
ok 'a new one without data' fails_with 2 'needs --data FOLDER' "$evaluate" --policy policy x
ok 'an unknown option' fails_with 2 "unknown option '--lr'" "$evaluate" --lr 1 x
ok 'an unknown benchmark' fails_with 2 "there is no benchmark 'AIME26'" "$evaluate" --benchmarks AIME26 x
ok 'responses that are no number' fails_with 2 '--samples wants N' "$evaluate" --samples AIME24=many x
ok 'a number with too many digits' fails_with 2 "'--max-tokens' wants a whole number" "$evaluate" --max-tokens 99999999999999999999 x
ok 'a value of two lines' fails_with 2 "'--name' wants a value without line breaks" "$evaluate" --name $'a\nb' x
for words in '--temperature 5000' '--samples 99999' '--top-p 3' '--too-long never --judge other --judge-prompt judge.txt'; do
    # shellcheck disable=SC2016,SC2086 # a text for eval
    ok "refused before a recipe records it: $words" eval 'exits 2 "$evaluate" "${few[@]}" $words refused 2> err && grep -q "jrl-[a-z]*: error: option" err && test ! -e refused/recipe'
done
ok 'no output folder' fails_with 2 'no output folder' "$evaluate"
ok 'more tokens than the policy has positions' fails_with 2 'positions' "$evaluate" "${new[@]}" --max-tokens 9000 x
ok '--plan: tokens and bytes at most' sh -c "'$evaluate' --plan --policy policy --data data --max-tokens 100 y | grep -Eq '^all +708 +70800\$'"
ok '--plan: memory' sh -c "'$evaluate' --plan --policy policy --data data --max-tokens 100 y | grep -q '^total'"
ok '--print: the pipelines' sh -c "'$evaluate' --print --policy policy --data data y | grep -c '^jrl-sample.*--temperature 0.7 --top-p 0.9.*--max-tokens 31744' | grep -qx 9"
ok 'neither makes a folder' test ! -e y
mkdir -p readme/run/policy && ln -s "$PWD/policy" readme/run/policy/latest && ln -s "$PWD/data" readme/benchmarks
as_in_readme() { (cd readme && bash -euc "$JRL_TOP/$(sed -n '/^pipelines\/evaluate.*--plan/s/#.*//p' "$JRL_TOP/README.md") --max-tokens 100"); }
ok "the README's plan" as_in_readme
locked() {
    exec 8> whole/lock
    flock 8
    exits 75 "$evaluate" whole
    local status=$?
    exec 8>&-
    return "$status"
}
ok 'a locked folder ends with 75' locked

# ---- a few problems of the published files ----
if [ -d "$SHARED/data/benchmarks" ]; then
    ok 'the published files' quiet "$evaluate" --policy policy --data "$SHARED/data/benchmarks" --limit-problems 3 --samples 1 \
        --max-tokens 8 --max-prompt-tokens 8000 real
    ok 'have the problems that they should' same_text "$("$evaluate" --plan --policy policy --data "$SHARED/data/benchmarks" --max-tokens 8 y |
        awk 'NR > 1 && NR < 11 { printf "%s ", $2 }')" '30 30 40 500 272 674 30 30 40 '
    ok 'CMIMC25 has line breaks behind problems, none in prompts' sh -c \
        'jrl-view --plain --fields prompt real/CMIMC25.jrl | jq -r .prompt | grep -c "[^ ] Please reason step by step" | grep -qx 3'
else
    skip 'the published files' 'they do not lie in ../shared'
fi
done_testing
