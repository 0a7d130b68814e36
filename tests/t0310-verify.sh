# jrl-verify: the strict box through the tool, rewards, reference answers of every type, order kept by threads.
# shellcheck shell=bash
. "$(dirname "$0")/tap.sh"

# judged ANSWER_JSON TEXT_JSON [OPTIONS...]: reward, correct, pred, verifier of one rollout
judged() {
    local answer=$1 text=$2
    shift 2
    printf '{"uid":1,"answer":%s,"sample":0,"samples":1,"text":%s}\n' "$answer" "$text" | jrl-pack | jrl-verify "$@" |
        jrl-view --fields reward,correct,pred,verifier
}
right='{"reward":1.0,"correct":true,"pred":"5","verifier":"dapo"}'
ok 'right' test "$(judged '"5"' '"so \\boxed{5}."')" = "$right"
ok 'wrong' test "$(judged '"6"' '"so \\boxed{5}."')" = '{"reward":-1.0,"correct":false,"pred":"5","verifier":"dapo"}'
ok 'nothing found' test "$(judged '"5"' '"so 5."')" = '{"reward":-1.0,"correct":false,"pred":null,"verifier":"dapo"}'
ok 'an empty answer is an answer' test "$(judged '""' '"\\boxed{}"')" = '{"reward":1.0,"correct":true,"pred":"","verifier":"dapo"}'
ok 'other rewards' test "$(judged '"5"' '"\\boxed{5}"' --reward 0.5:-2e-1 | jq -c .reward) $(judged '"6"' '"\\boxed{5}"' --reward 0.5:-2e-1 | jq -c .reward)" = '0.5 -0.2'
ok 'an integer' test "$(judged 5 '"\\boxed{5}"')" = "$right"
ok 'a float' test "$(judged 5.0 '"\\boxed{5}"')" = "$right"
ok 'a boolean' test "$(judged true '"\\boxed{True}"' | jq .correct)" = true
ok 'any of a list' test "$(judged '["4",5]' '"\\boxed{5}"')" = "$right"
ok 'none of a list' test "$(judged '["4","6"]' '"\\boxed{5}"' | jq .correct)" = false

printf '%s\n' '{"uid":1,"answer":"5","sample":0,"samples":1,"text":"\\boxed{5}","reward":0.25,"correct":false,"x":[1]}' | jrl-pack > judged.jrl
ok 'what was there before is kept' test "$(jrl-verify judged.jrl | jrl-view --plain | jq -c '[.reward, .correct, .reward_before, .correct_before, .x]')" = '[1,true,0.25,false,[1]]'
jrl-verify --no-provenance judged.jrl | jrl-view > once.jsonl
ok 'the same verdict again is no change' cmp once.jsonl <(jrl-verify judged.jrl | jrl-verify | jrl-view)

many() {
    local i
    for ((i = 0; i < 500; i++)); do
        printf '{"uid":%d,"answer":"%d","sample":0,"samples":1,"text":"x\\\\boxed{%d}"}\n' "$i" $((i % 7)) $((i % 5))
        [ $((i % 100)) -ne 99 ] || echo "{\"jrl\":\"batch\",\"k\":$((i / 100 + 1))}"
    done
}
many | jrl-pack > many.jrl
cat many.jrl many.jrl > twice.jrl
for threads in 2 5 0; do
    ok "$threads threads keep order, batches and segments" cmp <(jrl-verify --no-provenance --compress none twice.jrl) <(JRL_THREADS=$threads jrl-verify --no-provenance --compress none twice.jrl)
done
ok 'the share that is right' test "$(jrl-verify many.jrl | jrl-view --fields correct | grep -c true)" = "$(for i in {0..499}; do [ $((i % 7)) != $((i % 5)) ] || echo; done | wc -l)"

ok 'an unknown rule' fails_with 2 "rule 'nobody' is none of: .*dapo" jrl-verify --rule nobody many.jrl
for reward in 1 1: :1 1:x 1:nan inf:0 ' 1:1' 1:1:1 ''; do
    ok "reward '$reward'" fails_with 2 reward jrl-verify --reward "$reward" many.jrl
done
printf '%s\n' '{"uid":1,"answer":"5","sample":0,"samples":1,"text":"a"}' '{"uid":2,"answer":null,"sample":0,"samples":1,"text":"a"}' \
    '{"uid":3,"answer":[],"sample":0,"samples":1,"text":"a"}' '{"uid":4,"sample":0,"samples":1,"text":"a"}' | jrl-pack > unusable.jrl
ok 'no usable answer' fails_with 4 "record 2: field 'answer' is .*1 rejected" jrl-verify -o out.jrl unusable.jrl
ok '... leaves nothing behind' test ! -e out.jrl
ok 'unusable answers left out' test "$(jrl-verify -q --max-rejected 3 unusable.jrl | jrl-view --fields uid)" = '{"uid":1}'
ok 'one too many' fails_with 4 'record 4: .*3 rejected, the limit is --max-rejected 2' jrl-verify -q --max-rejected 2 unusable.jrl
ok 'problems are not rollouts' fails_with 3 "record 1: field 'text' is missing" jrl-verify <(echo '{"uid":1,"answer":"5"}' | jrl-pack)
ok 'a text that is no text' fails_with 3 "field 'text' is" jrl-verify <(echo '{"uid":1,"answer":"5","text":5}' | jrl-pack)

# The published vectors through import, tool and view: score and extracted answer of each.
if [ -f "$SHARED/verify/public.jsonl" ] && command -v jrl-import > /dev/null; then
    jq -c 'select(.verifier == "dapo")' "$SHARED/verify/public.jsonl" > vectors.jsonl
    jrl-import --format responses --dedup none vectors.jsonl 2> /dev/null | jrl-verify | jrl-view --fields reward,correct,pred > got.jsonl
    ok 'the published vectors' cmp <(jq -c '.expected | [.score, .acc, .pred]' vectors.jsonl) <(jq -c '[.reward, .correct, .pred]' got.jsonl)
    ok '... all 435' test "$(wc -l < got.jsonl)" -ge 435
else
    skip 'the published vectors' 'no ../shared/verify or no jrl-import'
fi
done_testing
