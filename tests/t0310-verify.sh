# jrl-verify: the strict box through the tool, rewards, reference answers of every type, order kept by threads, other rules
# beside it, and users' programs that judge, with all that can go wrong with them.
# shellcheck shell=bash disable=SC2016,SC2028
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
worths() { # REWARDS: of a right one, a wrong one, one without an answer, and of the same three cut at the limit of tokens
    local text finish
    for finish in stop length; do
        for text in '\\\\boxed{5}' '\\\\boxed{6}' 6; do
            printf '{"uid":1,"answer":"5","sample":0,"samples":1,"text":"%s","finish":"%s"}\n' "$text" "$finish"
        done
    done | jrl-pack | jrl-verify --reward "$1" | jrl-view | values | jq -r .reward | tr '\n' ' '
}
ok 'two rewards' test "$(worths 1:-1)" = '1 -1 -1 1 -1 -1 '
ok 'another without an answer' test "$(worths 1:-1:-2)" = '1 -1 -2 1 -1 -2 '
ok 'another where the response was cut' test "$(worths 1:-1:-2:-.5)" = '1 -1 -2 1 -0.5 -0.5 '
ok 'why' test "$(for text in '\\boxed{5}' '\\boxed{6}' 6 '\\boxed{5'; do judged '"5"' "\"$text\"" --no-provenance; printf '{"uid":1,"answer":"5","sample":0,"samples":1,"text":"%s"}\n' "$text" | jrl-pack | jrl-verify | jrl-view --fields why; done | grep why | jq -c .why | tr '\n' ' ')" = '"equal text" "differs" "no box" "unbalanced" '
ok 'an integer' test "$(judged 5 '"\\boxed{5}"')" = "$right"
ok 'a float' test "$(judged 5.0 '"\\boxed{5}"')" = "$right"
ok 'a boolean' test "$(judged true '"\\boxed{True}"' | jq .correct)" = true
ok 'any of a list' test "$(judged '["4",5]' '"\\boxed{5}"')" = "$right"
ok 'none of a list' test "$(judged '["4","6"]' '"\\boxed{5}"' | jq .correct)" = false

printf '%s\n' '{"uid":1,"answer":"5","sample":0,"samples":1,"text":"\\boxed{5}","reward":0.25,"correct":false,"x":[1]}' | jrl-pack > judged.jrl
ok 'what was there before is kept' test "$(jrl-verify judged.jrl | jrl-view --plain | values | jq -c '[.reward, .correct, .reward_before, .correct_before, .x]')" = '[1,true,0.25,false,[1]]'
jrl-verify --no-provenance judged.jrl | jrl-view > once.jsonl
ok 'the same verdict again is no change' cmp once.jsonl <(jrl-verify judged.jrl | jrl-verify | jrl-view)

# fails_softly REGEX COMMAND...: exit code 0 and a warning that matches
fails_softly() {
    local regex=$1
    shift
    "$@" 2> warning > /dev/null && cat warning && grep -Eq "warning: $regex" warning
}
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
printf '%s\n' '{"uid":1,"answer":"5","sample":0,"samples":1,"text":"Answer: 5"}' '{"uid":2,"answer":"5","sample":0,"samples":1,"text":"nothing"}' |
    jrl-pack > invalid.jrl
ok 'an answer that a rule only invents is none' test "$(jrl-verify --rule dapo-minerva --reward 1:-1:-3 invalid.jrl | jrl-view --fields reward,pred | tr '\n' ' ')" = \
    '{"reward":1.0,"pred":"5"} {"reward":-3.0,"pred":"[INVALID]"} '
ok 'the share that is right' test "$(jrl-verify many.jrl | jrl-view --fields correct | grep -c true)" = "$(for i in {0..499}; do [ $((i % 7)) != $((i % 5)) ] || echo; done | wc -l)"

ok 'an unknown rule' fails_with 2 "rule 'nobody' is none of: .*dapo" jrl-verify --rule nobody many.jrl
for reward in 1 1: :1 1:x 1:nan inf:0 ' 1:1' 1:1:1:1:1 1:-1: 1:-1::0 '1 :-1' ''; do
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

# A second opinion beside the verdict.
printf '%s\n' '{"uid":1,"answer":"5","sample":0,"samples":1,"text":"5"}' '{"uid":2,"answer":"5","sample":0,"samples":1,"text":"so \\boxed{5}"}' \
    '{"uid":3,"answer":"\\boxed{5}","sample":0,"samples":1,"text":"\\boxed{5}"}' '{"uid":4,"answer":"5","sample":0,"samples":1,"text":"6"}' | jrl-pack > two.jrl
jrl-verify --also exact --also gsm8k -o both.jrl two.jrl 2> err
ok 'another rule beside it' test "$(jrl-view both.jrl | values | jq -c '[.reward, .correct, ."exact.correct", ."gsm8k.correct"]' | tr '\n' ' ')" = '[-1,false,true,false] [1,true,false,false] [-1,false,true,false] [-1,false,false,false] '
ok '... says how often it differs' grep -qx 'jrl-verify: info: exact and dapo differ on 3 of 4 rollouts: right by exact alone 2, by dapo alone 1' err
ok '... each of them' grep -qx 'jrl-verify: info: gsm8k and dapo differ on 1 of 4 rollouts: right by gsm8k alone 0, by dapo alone 1' err
ok '... and changes no other field' cmp <(jrl-verify two.jrl | jrl-view) <(jrl-view both.jrl | sed -E 's/,"(exact|gsm8k).correct":[a-z]*//g')
ok 'its key is one name for jrl-view' test "$(jrl-view --fields uid,exact.correct --where 'exact.correct and not_there or exact.correct == true and uid < 3' both.jrl)" = '{"uid":1,"exact.correct":true}'
ok 'reasons are counted' bash -c "jrl-verify -v two.jrl 2>&1 > /dev/null | grep -qx 'jrl-verify: info: dapo: no box 2, differs 1, equal text 1'"
for pair in '1e-9 0' '5 5' '1e-8 2e-8'; do
    printf '{"uid":1,"answer":"%s","sample":0,"samples":1,"text":"\\\\boxed{%s}"}\n' "${pair#* }" "${pair% *}"
done | jrl-pack > tiny.jrl
tiny() { jrl-verify --rule polaris "$@" tiny.jrl 2> err | jrl-view --fields correct | tr -d '\n' && sed 's/.*: //' err; }
ok 'tiny numbers, as published' test "$(tiny)" = '{"correct":true}{"correct":true}{"correct":true}--small-numbers exact would change 2 of 3 verdicts'
ok 'tiny numbers, exact' test "$(tiny --small-numbers exact)" = '{"correct":false}{"correct":true}{"correct":false}--small-numbers exact changed 2 of 3 verdicts'
ok 'tiny numbers of a rule beside it' bash -c "jrl-verify --also polaris --small-numbers exact two.jrl 2>&1 > /dev/null | grep -x 'jrl-verify: info: polaris: --small-numbers exact changed 0 of 4 verdicts'"
# More than a frame of text, several times: compressed by other threads, the same bytes.
for i in {1..12}; do
    printf '{"uid":%d,"answer":"5","sample":0,"samples":1,"text":"' "$i"
    for j in {1..40000}; do printf '%d ' $((i * j * j % 9973)); done
    printf '\\\\boxed{5}"}\n'
done | jrl-pack > large.jrl
ok 'threads compress the same bytes' cmp <(jrl-verify --no-provenance large.jrl) <(JRL_THREADS=3 jrl-verify --no-provenance large.jrl)
ok '... of a stream that is whole' bash -c 'JRL_THREADS=3 jrl-verify large.jrl | jrl-check'
ok '... to a full disk' fails_with 1 'No space left' env JRL_THREADS=3 bash -c 'jrl-verify large.jrl > /dev/full'
printf '{"uid":1,"answer":"%070000d","sample":0,"samples":1,"text":"Answer: 5"}\n' 5 | jrl-pack > limit.jrl
ok 'a limit that was reached is told' fails_softly 'dapo-minerva: 1 of 1 rollouts reached a limit of work and count as wrong' jrl-verify --rule dapo-minerva limit.jrl
ok '... in the record, too' test "$(jrl-verify -q --rule dapo-minerva limit.jrl | jrl-view --fields correct,why)" = '{"correct":false,"why":"limit"}'
ok 'none adds nothing' cmp <(jrl-view --header many.jrl) <(jrl-verify --rule none --no-provenance many.jrl | jrl-view --header)

# A user's own program. jq is one that answers each line; the shell shows what can go wrong.
ask="exec:jq -c --unbuffered '{reward: (if .text == \"x\\\\boxed{\\(.answer)}\" then 1 else -0.5 end), pred: .answer}'"
jrl-verify --rule "$ask" --also dapo -o asked.jrl many.jrl 2> err
ok 'a program judges' test "$(jrl-view asked.jrl | sed -n '3p;7p' | values | jq -c '[.uid, .reward, .correct, .pred, .why, .verifier]' | tr '\n' ' ')" = '[2,1,true,"2",null,"exec"] [6,-0.5,false,"6",null,"exec"] '
ok '... as the rule does' grep -qx 'jrl-verify: info: dapo and the program differ on 0 of 500 rollouts: right by dapo alone 0, by the program alone 0' err
for threads in 1 2 5; do
    ok "$threads programs keep order, batches and segments" cmp <(jrl-verify --no-provenance --rule "$ask" twice.jrl | jrl-view --header) \
        <(JRL_THREADS=$threads jrl-verify --no-provenance --rule "$ask" twice.jrl | jrl-view --header)
done
echo '{"uid":18446744073709551615,"source":"s","problem":"p","answer":[1,"b"],"sample":0,"samples":1,"text":"é\u0007\n","tokens":{"$u32":[1,2]},"extra":{"level":3}}' | jrl-pack > one.jrl
seen() { jrl-verify --rule 'exec:tee seen | jq -c --unbuffered "{reward:0}"' "$@" one.jrl > /dev/null && cat seen; }
ok 'what it gets' test "$(seen)" = '{"uid":18446744073709551615,"draw":null,"sample":0,"problem":"p","answer":[1,"b"],"text":"é\u0007\n"}'
ok 'what it gets by request' test "$(seen --exec-fields text,tokens,extra.level,none)" = '{"text":"é\u0007\n","tokens":[1,2],"extra.level":3,"none":null}'
ok 'it decides what is correct' test "$(jrl-verify --rule 'exec:jq -c --unbuffered "{reward:-1,correct:true,pred:null}"' one.jrl | jrl-view --fields reward,correct,pred)" = '{"reward":-1.0,"correct":true,"pred":null}'
echo '{"uid":1,"sample":0,"samples":1,"text":"no answer"}' | jrl-pack > unanswered.jrl
ok 'it needs no answer' test "$(jrl-verify --rule 'exec:jq -c --unbuffered "{reward:2}"' unanswered.jrl | jrl-view --fields reward)" = '{"reward":2.0}'
ok '... but a rule beside it does' fails_with 4 "field 'answer' is missing" jrl-verify --also dapo --rule 'exec:jq -c --unbuffered "{reward:2}"' unanswered.jrl
# Longer than any pipe, both ways at once.
long() { printf '{"uid":1,"answer":"5","sample":0,"samples":1,"text":"'; head -c 3000000 /dev/zero | tr '\0' a; printf '"}\n'; }
(long; long) | jrl-pack > long.jrl
ok 'long records, long answers' test "$(jrl-verify --rule 'exec:jq -c --unbuffered "{reward:1,pred:.text}"' long.jrl | jrl-view --fields pred | wc -c)" = 6000024
ok '... and an answer that comes before the record was read' test "$(jrl-verify --rule 'exec:while :; do printf "{\"reward\":1,\"pred\":\""; head -c 300000 /dev/zero | tr "\\0" b; echo "\"}"; read -r line || exit 0; done' \
    long.jrl 2>&1 | grep -c 'wrote more than one line')" = 1

wrong() { # NAME REGEX COMMAND [OPTIONS...]: exit 1 with one line, with one thread and with three, and no file
    local name=$1 regex=$2 command=$3 threads
    shift 3
    for threads in 1 3; do
        ok "$name, $threads threads" fails_with 1 "$regex" env JRL_THREADS=$threads jrl-verify --rule "exec:$command" "$@" -o wrong.jrl many.jrl
        ok '... leaves nothing behind' test ! -e wrong.jrl
    done
}
wrong 'a dead program' "'many.jrl': record 1: 'exit 3' ended with exit status 3 and did not answer" 'exit 3'
wrong 'a program that is killed' "record [0-9]+: '.*' was ended by signal 9 \\(Killed\\) and did not answer" 'read -r a; echo "{\"reward\":1}"; read -r a; kill -9 $$'
wrong 'a program that is not there' 'record 1: .* ended with exit status 127 \(a command was not found\)' 'no-such-program 2> /dev/null'
wrong 'a late program' "record 1: 'sleep 60' did not answer within 0.3 s; does it flush" 'sleep 60' --exec-timeout 0.3
for answer in 'no JSON;not valid JSON' '[1];not a JSON object' '{"correct":true};.reward. is missing' '{"reward":"1"};.reward. is not a number' '{"reward":NaN};not valid JSON' \
    '{"reward":1e999};not valid JSON' '{"reward":1,"correct":1};.correct. is not true or false' '{"reward":1,"pred":5};.pred. is not a string' '{"reward":1,"corect":true};.corect. is none of reward'; do
    wrong "the answer ${answer%;*}" "record 1: .* answered '.*': ${answer#*;}" "while read -r a; do echo '${answer%;*}'; done"
done
wrong 'two answers' 'record 1: .* wrote more than one line' 'while read -r a; do printf "{\"reward\":1}\n{\"reward\":1}\n"; done'
wrong 'an exit status at the end' "^jrl-verify: error: '.*' ended with exit status 5 behind the end of its input" 'jq -c --unbuffered "{reward:1}"; exit 5'
wrong 'a program that does not end' "did not end behind the end of its input within 4 s" 'jq -c --unbuffered "{reward:1}"; exec sleep 60' --exec-timeout 4
ok 'the first record that fails is named' fails_with 1 'record 123: ' env JRL_THREADS=3 jrl-verify --rule 'exec:while read -r a; do case $a in *:122,\"draw*) exit 1 ;; *) echo "{\"reward\":1}" ;; esac; done' many.jrl
ok 'what it says on stderr is passed on' bash -c "jrl-verify --rule 'exec:echo hello >&2; jq -c --unbuffered {reward:1}' many.jrl 2>&1 > /dev/null | grep -qx hello"

# It goes with us, however we go; nobody waits for it when nobody reads what we write.
ended() { # PID: gone, or dead and not yet reaped
    local i
    for i in {1..100}; do
        [ -e "/proc/$1" ] && ! grep -q '^State:.*[ZX]' "/proc/$1/status" 2> /dev/null || return 0
        sleep 0.05
    done
    return 1
}
for signal in TERM HUP KILL; do
    rm -f pid
    jrl-verify --exec-timeout 0 --rule 'exec:echo $$ > pid.tmp; mv pid.tmp pid; exec sleep 600' many.jrl > /dev/null 2>&1 &
    us=$!
    for _ in {1..100}; do [ ! -s pid ] || break; sleep 0.05; done
    kill -"$signal" "$us"
    wait "$us" 2> /dev/null
    ok "the program ends with us by SIG$signal" ended "$(cat pid)"
done
ok 'and where another record failed' bash -c "JRL_THREADS=2 jrl-verify --exec-timeout 0 --rule 'exec:read -r a; case \$a in *:0,*) exit 1 ;; esac; exec sleep 600' many.jrl > /dev/null 2>&1; [ \$? -eq 1 ]"
ok 'nobody reads what we write' bash -c "timeout 20 jrl-verify --exec-timeout 0 --rule 'exec:exec sleep 600' many.jrl | true; [ \${PIPESTATUS[0]} -eq 141 ]"
# A record is written while the next one is still to come.
jrl-cat --compress none many.jrl > plain.jrl
mkfifo fifo
at_once() { # THREADS OPTIONS...
    local threads=$1 i rc
    shift
    JRL_THREADS=$threads jrl-verify --compress none "$@" < fifo > some.jrl 2> /dev/null &
    exec 9> fifo
    head -c 2000 plain.jrl >&9
    for i in {1..100}; do
        if grep -q 'boxed{0}' some.jrl; then break; fi
        sleep 0.05
    done
    grep -q 'boxed{0}' some.jrl
    rc=$?
    exec 9>&-
    wait
    return $rc
}
for threads in 1 3; do
    ok "nothing waits for more input, $threads threads" at_once "$threads"
    ok "... nor with a program, $threads threads" at_once "$threads" --rule 'exec:jq -c --unbuffered {reward:1}'
done

for line in '--rule exec:' '--rule exec:cat --reward 1:0' '--rule exec:cat --small-numbers exact' '--rule exec:cat --max-rejected 1' '--exec-fields text' '--exec-timeout 3' '--rule exec:cat --exec-fields a,,b' \
    '--rule exec:cat --exec-fields ,a' '--rule exec:cat --exec-timeout -1' '--small-numbers exact' '--rule exact --also dapo --small-numbers exact' '--rule none --also dapo' '--rule none --reward 1:0' '--rule none -t 1' '--also dapo' '--rule exact --also dapo --also dapo' '--also exec:cat' '--also nobody'; do
    # shellcheck disable=SC2086 # a list of words
    ok "refused: $line" fails_with 2 'error: ' jrl-verify $line not-there.jrl
done
ok 'another unknown rule' fails_with 2 "also 'nobody' is none of: dapo, dapo-minerva" jrl-verify --also nobody many.jrl

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
