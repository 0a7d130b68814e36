#!/usr/bin/env bash
# pipelines/smollm2 in miniature: problems chosen by the tools, training, the gain on those held out. The policy is random, but
# it writes digits, and the answers are digits.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"
smollm2=$JRL_TOP/pipelines/smollm2
quiet() { "$@" > out 2> err || { cat out err; return 1; }; }
same_text() { [ "$1" = "$2" ] || { printf 'got  %s\nwant %s\n' "$1" "$2"; return 1; }; }

for a in 0 1 2 3 4; do
    for b in 0 1 2 3 4 5; do printf '{"question":"What is %d + %d?","answer":"So.\\n#### %d"}\n' "$a" "$b" $(((a + b) % 10)); done
done > gsm8k-train.jsonl
jrl-model make -q --shape dim=32,layers=1,heads=2,kv-heads=1,mlp=64,positions=256 --tokenizer "$JRL_TOP/pipelines/demo-tokenizer" -o policy
new=(--policy policy --train gsm8k-train.jsonl --candidates 24 --hold-out 3 --samples 8 --eval-samples 3 --steps 2 --batch-size 2 --mini-batch 1
    --temperature 1 --max-prompt-tokens 64 --max-tokens 16 --lr 1e-3 --warmup 1 --threads 1)

ok 'a run in one go' quiet "$smollm2" "${new[@]}" whole
ok 'ends with the gain and its interval' sh -c "tail -n 1 out | grep -Eq '^smollm2: avg@3 [0-9.]+ -> [0-9.]+ on [0-9]+ held-out problems, gain -?[0-9.e-]+ \(-?[0-9.e-]+ to -?[0-9.e-]+\)\$'"
ok '24 problems were tried' same_text "$(jrl-view --fields uid whole/candidates.rollouts.jrl | uniq | wc -l)" 24
solved() { # uid and mean of those solved sometimes, computed anew
    jrl-verify -q --rule gsm8k-flexible whole/candidates.rollouts.jrl | jrl-view --fields uid,correct |
        awk -F'[:,}]' '{ right[$2] += $4 == "true"; if (!($2 in order)) { order[$2] = ++n; uid[n] = $2 } }
            END { for (i = 1; i <= n; i++) if (right[uid[i]] > 0 && right[uid[i]] < 8) printf "%s\t%g\n", uid[i], right[uid[i]] / 8 }'
}
ok 'chosen are those solved sometimes, not always' cmp whole/chosen.txt <(solved)
ok 'there are some' test "$(wc -l < whole/chosen.txt)" -ge 6
ok 'every third is held out' cmp whole/held-out.txt <(awk 'NR % 3 == 0' whole/chosen.txt)
ok 'the others are trained on' cmp whole/train.txt <(awk 'NR % 3 != 0' whole/chosen.txt)
ok 'and no problem twice' test -z "$(sort whole/train.txt whole/held-out.txt | uniq -d)"
uids() { jrl-view --fields uid "$1" | grep -o '[0-9]*' | sort; }
ok 'the training set is the list' cmp <(uids whole/train.jrl) <(cut -f 1 whole/train.txt | sort)
trained_on() { for file in whole/run/batches/*.jrl; do jrl-view --fields uid "$file" | grep -o '[0-9]*'; done | sort -u; }
ok 'nothing held out was trained on' test -z "$(comm -12 <(trained_on) <(cut -f 1 whole/held-out.txt | sort))"
ok 'two steps of training' same_text "$(readlink whole/run/policy/latest)" 000002
policies() { jrl-view --fields policy "$1" | sort -u; }
ok 'before is the start, after the end' test "$(policies whole/before.jrl)" = "{\"policy\":\"$(jrl-model hash policy)\"}" -a \
    "$(policies whole/after-000002.jrl)" = "{\"policy\":\"$(jrl-model hash whole/run/policy/000002)\"}"
ok 'measured with another seed than chosen' same_text "$(jrl-cat whole/before.jrl whole/after-000002.jrl | jrl-view --fields seed | sort -u)$(jrl-view --fields seed whole/candidates.rollouts.jrl | sort -u)" '{"seed":1}{"seed":0}'
ok 'the gain is that of jrl-eval' cmp <(jq -c .overall whole/gain-000002.json) <(jrl-eval -j --compare whole/before.jrl whole/after-000002.jrl | jq -c .overall)
state() { find whole -name '*.jrl' -printf '%p %T@ %i\n' | sort; }
before=$(state)
ok 'a finished run has nothing to do' quiet "$smollm2" whole
ok 'and makes nothing again' same_text "$(state)" "$before"

killed() { # FOLDER SECONDS
    setsid "$smollm2" "${new[@]}" "$1" > /dev/null 2> err &
    local driver=$!
    sleep "$2"
    pkill -9 -s "$driver"
    wait "$driver"
    for lock in "$1/lock" "$1/run/lock"; do [ ! -e "$lock" ] || flock -w 20 "$lock" true; done # the dead may hold it a moment longer
    quiet "$smollm2" "${new[@]}" "$1" && cmp "$1/gain-000002.txt" whole/gain-000002.txt && cmp "$1/chosen.txt" whole/chosen.txt
}
for t in 0.2 0.6 1; do ok "kill -9 after $t s" killed "kill-$t" "$t"; done
terminated() {
    "$smollm2" "${new[@]}" term > out 2> err &
    local driver=$!
    until [ -d term/run ] || ! kill -0 "$driver" 2> /dev/null; do sleep 0.01; done
    kill -TERM "$driver"
    wait "$driver"
    local status=$?
    [ "$status" -eq 75 ] || { echo "status $status"; cat err; return 1; }
    quiet "$smollm2" term && cmp term/gain-000002.txt whole/gain-000002.txt
}
ok 'TERM in training ends it with 75, and it goes on' terminated
ok 'another step' quiet "$smollm2" --steps 3 term
ok 'has a gain of its own' test -f term/gain-000003.json -a -f term/gain-000002.json

mkdir lists && cp whole/train.txt whole/held-out.txt lists
ok 'lists that were chosen before' quiet "$smollm2" "${new[@]}" --lists lists again
ok 'give the same run' cmp again/gain-000002.txt whole/gain-000002.txt
ok 'without trying any' test ! -e again/candidates.jrl
ok 'all problems, none held out' quiet "$smollm2" "${new[@]}" --candidates 0 --steps 1 all
ok 'is trained' test -d all/run/policy/000001 -a ! -e all/before.jrl

ok 'other options are refused' fails_with 2 'differ from the run' "$smollm2" --candidates 10 whole
ok 'too few to hold any out' fails_with 3 'of 1 candidates [01] are solved sometimes: too few' "$smollm2" "${new[@]}" --candidates 1 one
ok 'no policy' fails_with 2 'needs --policy' "$smollm2" x
ok 'no problems' fails_with 3 "no file '.*/none'" "$smollm2" --policy policy --train none x
ok 'a list that is missing' fails_with 3 "has no 'held-out.txt'" sh -c "mkdir half && cp lists/train.txt half && '$smollm2' --policy policy --train gsm8k-train.jsonl --lists half --max-prompt-tokens 64 y"
ok 'an option that justrl does not know' fails_with 2 "justrl: error: unknown option '--lrr'" "$smollm2" "${new[@]}" --lists lists --lrr 1 z
ok 'one that a tool refuses' fails_with 2 "jrl-update: error: option '--lr': 'nan'" "$smollm2" "${new[@]}" --lr nan z
ok 'another' fails_with 2 "jrl-sample: error: option '--temperature': 'x'" "$smollm2" "${new[@]}" --temperature x z
ok 'neither is recorded, and nothing was sampled for them' test ! -e z/recipe -a ! -e z/problems.jrl
done_testing
