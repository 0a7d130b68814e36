# jrl-judge: a judge whose answers are a script, what becomes of its verdicts, prompts that are too long, that nothing but its
# inputs changes a record, and what it refuses.
# shellcheck shell=bash disable=SC2016
. "$(dirname "$0")/tap.sh"

# scripted NAME RULE...: tests/scripted_policy.py has the rules; without one it answers B
scripted() {
    jrl-model make -q -o "$1" --dtype f32 --shape dim=288,layers=1,heads=9,kv-heads=9,mlp=32,positions=4096,tied=0 &&
        /usr/bin/python3 "$JRL_TOP/tests/scripted_policy.py" "$1" NB 'B$' "${@:2}" || exit 1
}
# Z in the prompt: A; Y: white space, A, white space; X: "A."; V: C; W: w for ever; U: u, then an e with an accent for ever.
scripted judge NAZ 'A$' 'N Y' ' A' $'A\tY' $'\t$' NAX A.X '.$' NCV 'C$' NwW ww NuU uÃ Ã© ©Ã
printf 'is it {{right}}?\nq: {question}\na: {answer}\nr: {response}\n' > ask.txt
judge() { jrl-judge --policy judge --prompt ask.txt --max-tokens 60 "$@"; }

rollout() { # UID SAMPLE TEXT CORRECT, further fields
    echo "{\"uid\":$1,\"source\":\"s\",\"problem\":\"what is it\",\"answer\":\"7\",\"sample\":$2,\"samples\":8,\"text\":\"$3\",\"finish\":\"stop\",\"tokens\":{\"\$u32\":[1,2]},\"reward\":$(
        [ "$4" = true ] && echo 1.0 || echo -1.0),\"correct\":$4,\"pred\":\"x\",\"verifier\":\"dapo\"${5:-}}"
}
pack() { jrl-pack --kind rollout "$@"; }
{
    rollout 1 0 'it is Z' false
    rollout 1 1 'it is seven' false
    rollout 1 2 'it is Z' true # not asked
    rollout 1 3 'it is Y' false
    rollout 1 4 'it is X' false
    rollout 1 5 'it is V' false
    rollout 1 6 'it is W' false
    rollout 1 7 'it is U' false
} | pack -o verified.jrl
judge verified.jrl -o judged.jrl
jrl-view judged.jrl > judged.jsonl
column() { values "${2:-judged.jsonl}" | jq -c -r "$1" | tr '\n' ' '; }
ok 'the letter A is right, with white space about it too, and nothing else is' test "$(column .correct)" = 'true false true true false false false false '
ok 'verdicts, without the space' test "$(column '.judge_verdict' | cut -c 1-24)" = 'A B null A A. C wwwwwwww'
ok '... of at most 32 bytes' test "$(column '.judge_verdict | if . then utf8bytelength else 0 end')" = '1 1 0 1 2 1 32 31 '
ok '... cut between characters' jq -e -s '.[7].judge_verdict == "u" + "é" * 15' judged.jsonl
ok 'what the rules said stays' test "$(column .rule_correct)" = 'false false true false false false false false '
ok 'what the judge said, where it was asked' test "$(column .judge_correct)" = 'true false null true false false false false '
ok '... and only there' jq -e -s '.[2] | has("judge_correct") == false and has("judge_verdict") and .judge_verdict == null' judged.jsonl
ok 'the verdict that changed is kept' test "$(column .correct_before)" = 'false null null false null null null null '
ok 'the judge is named' test "$(jq -r .judge judged.jsonl | sort -u)" = "$(jrl-model hash judge | cut -d' ' -f1)"
ok 'other fields are kept, rewards too' cmp <(jrl-view verified.jrl | jq -c 'del(.correct)') <(
    jq -c 'del(.correct, .rule_correct, .judge_verdict, .judge_correct, .judge, .correct_before)' judged.jsonl)
ok '--trace' judge --trace trace.json verified.jrl -o traced.jrl
ok '... does not change a record' cmp <(jrl-view traced.jrl) judged.jsonl
ok '... has the phases of the judge and the parts of its steps' test "$(jq -r '[.[] | select(.ph == "X") | .name] | unique | join(" ")' trace.json)" = \
    'choose decode end prefill read start step write'
ok 'a trace on a full disk' fails_with 1 "cannot write '/dev/full'" judge --trace /dev/full verified.jrl -o no.jrl
ok 'no cuts, no field of them' jq -e -s 'length > 0 and all(has("judge_cut") | not)' judged.jsonl
ok 'the header names policy and prompt' jq -e --arg digest "$(sha256sum < ask.txt | cut -d' ' -f1)" --arg policy "$(jrl-model hash judge | cut -d' ' -f1)" \
    '.kind == "rollout" and (.prog[-1] | .tool == "jrl-judge" and .prompt == $digest and .policy == $policy and .options["max-tokens"] == "60"
    and .options["max-prompt-tokens"] == "4037")' <(jrl-view --header judged.jrl | head -n 1)
judge --reward 1:0 verified.jrl | jrl-view > rewarded.jsonl
ok 'rewards by the final verdict, when asked for' test "$(column .reward rewarded.jsonl)" = '1 0 1 1 0 0 0 0 '
ok '... beside the earlier ones' test "$(column .reward_before rewarded.jsonl)" = '-1 -1 null -1 -1 -1 -1 -1 '
ok 'the summary' bash -c 'jrl-judge --policy judge --prompt ask.txt --max-tokens 60 -v verified.jrl 2>&1 > /dev/null | grep -q "7 of 8 rollouts judged, 2 of them right"'
ok 'jrl-eval sees who found what' jq -e '[.. | objects | select(has("judge")) | .judge] | length > 0 and
    all(.by_rule == 1 and .by_judge == 2 and .incorrect == 1 and .invalid == 1 and .other == 3)' <(jrl-eval --json judged.jrl)
ok 'rules first, in one pipe' test "$(jrl-verify --rule dapo verified.jrl | judge | jrl-view | jq -c '[.verifier, .rule_correct, .correct]' | head -n 1)" = '["dapo",false,true]'

# A cut output is taken up: groups of two, one of them with verdicts that no judge gave.
for uid in 1 2 3; do for sample in 0 1; do rollout $uid $sample "$([ $sample = 0 ] && echo Z || echo no)" false | sed 's/"samples":8/"samples":2/'; done; done | pack -o pairs.jrl
judge pairs.jrl -o pairs.judged.jrl
of_judge() { jrl-view | jq -c -r .judge_verdict | tr '\n' ' '; }
judge --compress none pairs.jrl > raw.jrl
size=$(wc -c < raw.jrl)
resumed() { head -c "$1" raw.jrl > part.jrl && cmp <(jrl-view pairs.judged.jrl) <(judge --resume part.jrl pairs.jrl | jrl-view); }
for k in 3 4 5 6; do ok "resumes from $k sevenths" resumed $((size * k / 7)); done
ok 'resumes from all' resumed "$size"
jrl-view --header pairs.judged.jrl | sed -n '1p; 2,3s/"judge_verdict":"[AB]"/"judge_verdict":"K"/p' | jrl-pack -o kept.jrl
ok 'what is there is not asked again' test "$(judge --resume kept.jrl pairs.jrl | of_judge)" = 'K K A B A B '
ok 'not with another prompt' fails_with 3 'made with prompt=.*, this run has prompt=' bash -c 'echo "{question} {answer} {response}" > other.txt; jrl-judge --policy judge --prompt other.txt --max-tokens 60 --resume kept.jrl pairs.jrl -o no.jrl'
ok 'not with other options' fails_with 3 'made with max_tokens=60, this run has max_tokens=50' jrl-judge --policy judge --prompt ask.txt --max-tokens 50 --resume kept.jrl pairs.jrl -o no.jrl
ok 'not on other responses' fails_with 3 'record 2.*another response in the place' judge --resume kept.jrl <(jrl-view pairs.jrl | sed '2s/"text":"no"/"text":"yes"/' | pack) -o no.jrl
ok 'not on another input' fails_with 3 'group of uid 1 is not the next' judge --resume kept.jrl <(jrl-view pairs.jrl | tail -n 4 | pack) -o no.jrl
ok 'not from what no judge saw' fails_with 3 "no 'judging'" judge --resume pairs.jrl pairs.jrl -o no.jrl

# What is asked.
verdicts() { "$@" | jrl-view | jq -c -r .judge_verdict | tr '\n' ' '; }
field() { jrl-view verified.jrl | sed -n 2p | jq -c "$1" | jrl-pack --kind rollout; } # the second rollout, changed
ok 'the question is part of it' test "$(field '.problem = "what is Z"' | verdicts judge)" = 'A '
ok '... or left empty' test "$(field '.problem = "what is Z"' | verdicts judge --empty-question)" = 'B '
ok '... and not needed then' test "$(field 'del(.problem)' | verdicts judge --empty-question)" = 'B '
ok 'the prompt with suffix is not what is asked' test "$(field '.prompt = "what is Z"' | verdicts judge)" = 'B '
ok 'the answer is part of it' test "$(field '.answer = "Z"' | verdicts judge)" = 'A '
ok 'an answer that is a number' test "$(field '.answer = 7' | verdicts judge)" = 'B '
ok 'each of several answers' test "$(field '.answer = ["7", "Z"]' | verdicts judge)" = 'A '
# The byte tokenizer makes tokens countable.
length() { field "$1" | judge --too-long refuse --max-prompt-tokens 60 2>&1 > /dev/null | sed -n "s/.*prompt has \([0-9]*\) tokens.*/\1/p"; }
base=$(length .)
ok 'ChatML around the prompt, and nothing else' test "$base" = $(($(printf 'is it {right}?\nq: what is it\na: 7\nr: it is seven\n' | wc -c) + $(printf '.user\n.\n.assistant\n' | wc -c)))
ok 'several answers, with "or" between them' test $(($(length '.answer = [7, 8.0, "nine"]') - base)) = "$(printf ' or 8 or nine' | wc -c)"
printf 'twice the answer, and in another order: {response} {answer} {question} {answer}' > twice.txt
ok 'fields may stand in any order, and twice' test "$(field '.answer = "Z"' | verdicts jrl-judge --policy judge --prompt twice.txt)" = 'A '

# Prompts that are too long.
long() { printf 'x%.0s' $(seq "$1"); }
{
    rollout 1 0 "$(long 5000) Z" false
    rollout 1 1 "$(long 2500) Z $(long 2500)" false
    rollout 1 2 'it is Z' false
    rollout 1 3 "$(long 6000)" true
} | pack -o long.jrl
judge --max-prompt-tokens 400 long.jrl -o cut.jrl 2> cut.log
jrl-view cut.jrl > cut.jsonl
ok 'the middle is cut: the end is read' test "$(column .judge_verdict cut.jsonl)" = 'A B A null '
ok '... as much as is too much' test "$(column .judge_cut cut.jsonl)" = "$(
    overhead=$((base - 11)) # without the response
    echo "$((5002 - (400 - overhead - 5))) $((5003 - (400 - overhead - 5))) null null ")"
ok '... not in the record' cmp <(jq .text cut.jsonl) <(jrl-view long.jrl | jq .text)
ok '... and said' grep -q 'warning: 2 of 3 responses were cut in the middle to fit a prompt of 400 tokens' cut.log
ok 'the positions of the judge are a limit too' test "$(verdicts judge -q --max-tokens 2048 long.jrl)" = 'A B A null '
ok 'refused when asked for' fails_with 4 "'long.jrl': record 1: the judge's prompt has [0-9]+ tokens, the most are 400" judge --too-long refuse --max-prompt-tokens 400 long.jrl -o no.jrl
ok '... as many as may be' test "$(judge --too-long refuse --max-prompt-tokens 400 --max-rejected 2 -q long.jrl | jrl-view | jq -c .sample | tr '\n' ' ')" = '2 3 '
ok 'a question that is too long by itself' fails_with 4 'without anything of the response' bash -c "$(declare -f field judge long); field '.problem = \"'\$(long 500)'\"' | judge --max-prompt-tokens 400 -o no.jrl"
ok 'a prompt that is too long by itself' fails_with 2 "the prompt of 'ask.txt' has 46 tokens with nothing filled in, the most are 45" judge --max-prompt-tokens 45 long.jrl -o no.jrl

# Nothing but the inputs changes a record, and all keep their places. A random policy, whose verdicts are of all lengths.
jrl-model make -q -o random --dtype bf16 --shape dim=64,layers=2,heads=4,kv-heads=2,mlp=96,positions=1024
for i in {1..60}; do
    rollout "$i" 0 "$(long $((i * 37 % 300)))" "$([ $((i % 3)) = 0 ] && echo true || echo false)" ",\"draw\":$((i - 1)),\"step\":$(((i + 11) / 12))"
done | pack -o many.jrl
ask_random() { jrl-judge --policy random --prompt ask.txt --max-tokens 30 "$@" many.jrl; }
ask_random -o all.jrl
jrl-view all.jrl > all.jsonl
ok 'all are there, in order' test "$(column .uid all.jsonl)" = "$(seq 60 | tr '\n' ' ')"
ok 'two of three were asked' test "$(jq -s 'map(select(.judge_verdict != null)) | length' all.jsonl)" = 40
same_records() { cmp all.jsonl <(ask_random "$@" | jrl-view); }
ok 'one at a time' same_records --batch 1
ok 'three, prompts in small pieces' same_records --batch 3 --prefill-tokens 5
JRL_THREADS=2 ok 'two threads' same_records
ok 'little memory' same_records --memory 10M
ok 'the plain loops' env JRL_DISABLE=amx,avx512,avx2 jrl-judge --policy random --prompt ask.txt --max-tokens 30 many.jrl -o plain.jrl
ok '... give the same' cmp all.jsonl <(jrl-view plain.jrl)
ok 'greedy: as jrl-sample answers the same prompt' test "$(jq -r 'select(.judge_verdict != null) | .judge_verdict' all.jsonl | head -n 1)" = "$(
    printf '{"uid":1,"prompt":"is it {right}?\\nq: what is it\\na: 7\\nr: %s\\n"}\n' "$(long 37)" | jrl-pack | jrl-sample --policy random --greedy --max-tokens 30 |
        jrl-view | /usr/bin/python3 -c 'import json, sys; print(json.loads(sys.stdin.read())["text"].strip().encode()[:32].decode(errors="ignore"))')"
batched() { # the same with a boundary every 12 records
    jrl-view --header many.jrl | jq -c 'if .jrl == "end" then empty elif .uid and .uid % 12 == 0 then ., { jrl: "batch", k: .step, records: 12 } else . end' |
        jrl-pack "$@"
}
ok 'a stream with boundaries' batched -o batched.jrl
places() { jrl-view --header "$@" | jq -r 'if .jrl == "batch" then "batch \(.k) of \(.records)" elif .jrl then empty else .uid end'; }
ok 'boundaries keep their places' cmp <(places batched.jrl) <(jrl-judge --policy random --prompt ask.txt --max-tokens 30 batched.jrl > judged-batched.jrl; places judged-batched.jrl)
ok 'segments stay segments' test "$(cat verified.jrl verified.jrl | judge | jrl-view --header | jq -r .jrl | grep -c header)" = 2
records_behind_wait_for_one() { jrl-judge --policy random --prompt ask.txt --max-tokens 30 --batch 4 -v many.jrl 2>&1 > /dev/null | grep -Eq 'at most (1[0-6]|[0-9]) rollouts at a time'; }
ok 'no more than four records are held for each that is asked' records_behind_wait_for_one

# Judged again.
ok 'not by accident' fails_with 3 "'judged.jrl': record 1: this rollout has a 'judge_verdict' already; --again" judge judged.jrl -o no.jrl
scripted strict NAY 'A$'
jrl-judge --again --policy strict --prompt ask.txt --max-tokens 60 judged.jrl | jrl-view > again.jsonl
ok 'again, by another judge: from what the rules said' test "$(column .correct again.jsonl)" = 'false false true true false false false false '
ok '... with its own verdicts' test "$(column .judge_verdict again.jsonl)" = 'B B null A B B B B '
ok '... and its name' test "$(jq -r .judge again.jsonl | sort -u)" = "$(jrl-model hash strict | cut -d' ' -f1)"
ok '... beside the verdict before' test "$(column .correct_before again.jsonl)" = 'true null null false null null null null '
ok 'new verdicts of the rules are judged anew' test "$(jrl-verify judged.jrl | judge | jrl-view | jq -c '[.rule_correct, .judge_verdict]' | sed -n '1p;3p' | tr '\n' ' ')" = '[false,"A"] [false,"A"] '

# CompassVerifier's prompt, where it is: tests/reference/get.sh fetches it (pipelines/compass-template).
compass=${JRL_COMPASS_TEMPLATE:-$JRL_TOP/build/compass-template.txt}
ok 'another prompt is not taken for it' grep -q "'ask.txt' is another template than CompassVerifier's" <(judge -v verified.jrl 2>&1 > /dev/null)
if [ -f "$compass" ]; then
    ok "CompassVerifier's prompt is known" grep -q "is CompassVerifier's template" <(jrl-judge --policy judge --prompt "$compass" --max-tokens 2 -v verified.jrl 2>&1 > /dev/null)
    filled() { sed 's/{question}/Q/; s/{answer}/G/; s/{response}/R/; s/{{/{/g; s/}}/}/g' "$compass" | sha256sum; }
    ok '... filled with Q, G and R it has the SHA-256 of the original' test "$(filled)" = '6b4c19737126514a2384315cd1e5a76be7c56475b6ed7c2f0682f2cf2e3d9c97  -'
    sed 's/ALWAYS/always/' "$compass" > almost.txt
    ok '... and a changed one is not' grep -q "is another template" <(jrl-judge --policy judge --prompt almost.txt --max-tokens 2 -v verified.jrl 2>&1 > /dev/null)
else
    skip "CompassVerifier's prompt" "no $compass (pipelines/compass-template fetches it)"
fi
printf 'CV_PROMPT = """\n{question}{gold_answer}{llm_response}\n"""\n' > prompts.py
ok 'what is not the published prompt is not taken for it' fails_with 3 'its SHA-256 is another' "$JRL_TOP/pipelines/compass-template" compass.txt prompts.py
ok '... and leaves nothing' test ! -e compass.txt

# The plan.
ok '--plan' bash -c 'jrl-judge --policy judge --prompt ask.txt --plan > plan.txt < /dev/null && grep -q "^keys and values .* [0-9]" plan.txt && grep -q "^total" plan.txt'
ok 'no room' fails_with 2 'more than the 15728640 it may use' judge --memory 15M --batch 4000 verified.jrl -o no.jrl

# What is refused.
bad() { field "$1" | judge -o no.jrl; }
ok 'not verified yet' fails_with 3 "record 1: field 'correct' is missing; rollouts are expected, as jrl-verify" bad 'del(.correct)'
ok 'no text' fails_with 3 "record 1: field 'text' is missing" bad 'del(.text)'
ok 'no problem' fails_with 3 "record 1: field 'problem' is missing" bad 'del(.problem)'
ok 'no answer' fails_with 3 "record 1: field 'answer' is missing" bad 'del(.answer)'
ok 'an answer that is none' fails_with 3 "record 1: field 'answer' is a map" bad '.answer = {}'
ok 'no uid' fails_with 3 "record 1: field 'uid' is missing" bad 'del(.uid)'
ok 'text that is none' fails_with 3 "record 1: field 'text' is not UTF-8" bad '.text = {"$str": "/w=="}'
ok 'an answer that is no text' fails_with 3 "record 1: field 'answer' is not UTF-8" bad '.answer = {"$str": "/w=="}'
ok 'what is not asked is not looked at' test "$(field 'del(.text, .answer, .problem) | .correct = true' | verdicts judge)" = 'null '
for name in question answer response; do
    sed "s/{$name}/it/" ask.txt > without.txt
    ok "a prompt without {$name}" fails_with 2 "'without.txt': field \{$name\} does not occur" judge --prompt without.txt verified.jrl -o no.jrl
done
printf '{question}\n{answer} {response} {gold}' > without.txt
ok 'a prompt with another field' fails_with 2 "'without.txt': line 2: no field is called 'gold': fields are \{question\}, \{answer\} and \{response\}" judge --prompt without.txt verified.jrl -o no.jrl
printf '{question}{answer}{response}{' > without.txt
ok 'a brace alone' fails_with 2 "'without.txt': line 1: a '\{' alone" judge --prompt without.txt verified.jrl -o no.jrl
ok 'no such prompt' fails_with 3 'nowhere.txt' judge --prompt nowhere.txt verified.jrl -o no.jrl
ok 'no prompt' fails_with 2 '--prompt is needed' jrl-judge --policy judge verified.jrl -o no.jrl
ok 'no policy' fails_with 2 '--policy is needed' jrl-judge --prompt ask.txt verified.jrl -o no.jrl
ok 'a reward that is none' fails_with 2 "--reward '1' is not RIGHT:WRONG" judge --reward 1 verified.jrl -o no.jrl
cp -r random bare && sed -i '/chat_template/d' bare/tokenizer_config.json && rm -f bare/chat_template.jinja bare/state.json
jq -c 'del(.chat_template)' random/tokenizer_config.json > bare/tokenizer_config.json
ok 'a judge without a chat template' fails_with 3 "'bare' has no chat template: choose one with --template" judge --policy bare verified.jrl -o no.jrl
ok '... which can be chosen' jrl-judge --policy bare --prompt ask.txt --template none --max-tokens 5 verified.jrl -o bare.jrl
ok 'a template whose tokens the judge lacks, before any record' fails_with 3 "'judge': template 'llama-3' needs the token '<.begin_of_text.>'" judge --template llama-3 /dev/null -o no.jrl
cp -r "$JRL_TOP/tests/golden/model/llama-untied" foreign && cp random/tokenizer*.json foreign
ok 'a judge with the tokenizer of another model' fails_with 3 "tokenizer of 'foreign' has ids up to 258, but the model has only 160 rows" judge --policy foreign verified.jrl -o no.jrl
ok 'lengths beyond the positions' fails_with 2 'do not fit into the 4096 positions' judge --max-tokens 4000 --max-prompt-tokens 200 verified.jrl -o no.jrl
ok 'a full disk' fails_with 1 'No space left' judge verified.jrl -o /dev/full
ok 'nothing was left behind by these' test ! -e no.jrl
done_testing
