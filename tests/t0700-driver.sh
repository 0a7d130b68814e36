#!/usr/bin/env bash
# The step-by-step driver: a resumed run equals an unbroken one, options, locking, signals, branches.
# shellcheck disable=SC2016 # texts for eval
. "$(dirname "$0")/tap.sh"
justrl=$JRL_TOP/pipelines/justrl

awk -f "$JRL_TOP/pipelines/demo.awk" -v kind=problems -v part=train -v count=40 -v seed=1 -v digits=2 > train.jsonl
awk -f "$JRL_TOP/pipelines/demo.awk" -v kind=problems -v part=test -v count=4 -v seed=1 -v digits=2 > test.jsonl
jrl-import -q --source train -o train.jrl train.jsonl
jrl-import -q --source test -o test.jrl test.jsonl
jrl-model make -q --shape dim=32,layers=2,heads=2,kv-heads=1,mlp=64,positions=128 --tokenizer "$JRL_TOP/pipelines/demo-tokenizer" -o start
sizes=(--batch-size 4 --samples 4 --mini-batch 2 --max-prompt-tokens 64 --max-tokens 12 --lr 1e-3 --warmup 2 --threads 1
    --eval-samples 2 --eval-max-tokens 8 --eval-every 2 --save-every 2)
new=(--policy start --data train.jrl --eval test=test.jrl "${sizes[@]}")

weights() { sha256sum < "$1/policy/$(printf %06d "$2")/model.safetensors"; }
same_weights() { [ "$(weights "$1" "$3")" = "$(weights "$2" "$3")" ]; }
steps_of() { jq -c .step "$1/metrics.jsonl" | tr '\n' ' '; }
steps_are() { [ "$(steps_of "$1")" = "$2" ] || { echo "steps: $(steps_of "$1")"; return 1; }; }
quiet() { "$@" > out 2> err || { cat out err; return 1; }; }

ok "three steps in one go" quiet "$justrl" "${new[@]}" --steps 3 whole
ok "its metrics have each step once" steps_are whole "1 2 3 "
ok "evaluated at 0 and 2" test -f whole/eval/000000.json -a -f whole/eval/000002.json -a ! -f whole/eval/000003.json
ok "keeps the last two policies and every second" test -d whole/policy/000002 -a -d whole/policy/000003 -a ! -e whole/policy/000001
ok "two steps" quiet "$justrl" "${new[@]}" --steps 2 parts
ok "and a third, with only the run's name and the steps given" quiet "$justrl" --steps 3 parts
ok "a resumed run has the weights of an unbroken one" same_weights whole parts 3
ok "and its metrics have each step once" steps_are parts "1 2 3 "
ok "a finished run has nothing to do" quiet "$justrl" --steps 3 parts
ok "... nor when called as cron does, by its name alone" quiet "$justrl" parts
ok "... it stays at its last step" test "$(readlink parts/policy/latest)" = 000003

ok "two threads, small passes and few responses at a time" quiet "$justrl" "${new[@]}" --threads 2 --micro-tokens 64 --batch 3 --steps 3 small
ok "end in the same weights" same_weights whole small 3
kept() { (cd "$1/batches" && echo ./*.jrl); }
ok "the last two batches are kept" test "$(kept whole)" = './000002.jrl ./000003.jrl'
ok "all batches" quiet "$justrl" "${new[@]}" --steps 2 --keep-batches all all
ok "are kept" test "$(kept all)" = './000001.jrl ./000002.jrl'
ok "... by later calls, too" eval 'quiet "$justrl" --steps 3 all && test "$(kept all)" = "./000001.jrl ./000002.jrl ./000003.jrl"'
ok "no batches" quiet "$justrl" "${new[@]}" --steps 2 --keep-batches none none
ok "are kept then" test "$(kept none)" = './*.jrl'
ok "disk use is printed at the start" grep -q 'kept by the run, at most .* bytes' err

ok "a reward program of one's own" quiet "$justrl" "${new[@]}" --rule 'exec:jq -c --unbuffered "{reward: 0.25}"' --steps 1 mine
ok "gives the rewards" test "$(jq .reward mine/metrics.jsonl)" = 0.25
ok "and rewards of one's own choice" quiet "$justrl" "${new[@]}" --reward 2:2:2 --steps 1 twos
ok "go to the rule" test "$(values twos/metrics.jsonl | jq .reward)" = 2

ok "importance weights" quiet "$justrl" "${new[@]}" --is-cap 2 --steps 2 weighted
ok "are 1 where sampler and trainer are one" test "$(jq -c '[.is_weight_mean, .is_weight_max]' weighted/metrics.jsonl | sort -u | sed 's/\.0//g')" = '[1,1]'
ok "and give the same weights" same_weights whole weighted 2
ok "they are part of the recipe" grep -qx 'is-cap 2' weighted/recipe
ok "which has no word of them otherwise" exits 1 grep -q is-cap whole/recipe
ok "--numerics goes to the tools that run a model" sh -c "'$justrl' --print --numerics fast ${new[*]} x | grep -o -- '--numerics fast' | wc -l | grep -qx 2"
ok "and cannot be changed by the way" fails_with 2 'differ from the run' "$justrl" --is-cap 3 --steps 4 weighted

ok "with verl's mean" quiet "$justrl" "${new[@]}" --aggregate verl-micro --steps 0 verl
ok "the tokens of a pass decide the result" fails_with 2 'differ from the run' "$justrl" --micro-tokens 64 verl
ok "and are of the recipe alone" test "$(cd verl && grep -l '^micro-tokens 32768' recipe settings)" = recipe
ok "else of the settings alone" test "$(cd whole && grep -l '^micro-tokens 32768' recipe settings)" = settings
ok "another learning rate is refused" fails_with 2 'differ from the run' "$justrl" --lr 2e-3 --steps 4 parts
ok "and accepted with --change" quiet "$justrl" --lr 2e-3 --change --steps 4 parts
ok "which is on record" grep -q '^#   < lr 1e-3' parts/recipe
ok "a branch starts from a kept step" quiet "$justrl" --from whole@2 "${sizes[@]}" --eval test=test.jrl --steps 3 branch
ok "and gets the same weights" same_weights whole branch 3
ok "... without giving the options again" quiet "$justrl" --from whole@2 heir
ok "... too" same_weights whole heir 3
ok "another branch, with one other option" quiet "$justrl" --from whole@2 --lr 2e-3 --steps 2 other-rate
ok "... has that and no other" test "$(diff heir/recipe other-rate/recipe | grep '^>')" = '> lr 2e-3'
ok "a step that is not kept is named" fails_with 3 'keeps no policy of step 1' "$justrl" --from whole@1 --steps 2 nowhere

locked() {
    exec 8> whole/lock
    flock 8
    exits 75 "$justrl" --steps 4 whole
    local status=$?
    exec 8>&-
    return "$status"
}
ok "a locked run ends with 75" locked
no_locks() { # as on Lustre that is mounted without -o flock
    mkdir -p no-locks && printf '%s\n' '#!/bin/sh' 'echo "flock: 9: Function not implemented" >&2; exit 69' > no-locks/flock && chmod +x no-locks/flock
    PATH=$PWD/no-locks:$PATH fails_with 1 'cannot lock: .* file system' "$justrl" --steps 4 whole
}
ok "a file system without locks is not called locked" no_locks
two_drivers() { # at once on one folder: one works, the other is sent away
    local first status=0 other=0
    "$justrl" "${new[@]}" --steps 3 two > first.log 2>&1 &
    first=$!
    until [ -e two/recipe ] || ! kill -0 "$first" 2> /dev/null; do sleep 0.02; done
    "$justrl" "${new[@]}" --steps 3 two > second.log 2>&1 || other=$?
    wait "$first" || status=$?
    [ "$status $other" = '0 75' ] || { echo "$status $other"; cat first.log second.log; return 1; }
    grep -q "'two' is locked: another driver works on it" second.log && same_weights whole two 3 && steps_are two "1 2 3 "
}
ok "two drivers on one folder" two_drivers
ok "a collapsed run ends with 4" exits 4 "$justrl" "${new[@]}" --steps 9 --stop-if '.step == 2' collapsed
ok "after its checkpoint" test -d collapsed/policy/000002
ok "and does so when called again" eval 'exits 4 "$justrl" collapsed 2> err && grep -q "step 2: .* is true: the run ends here" err'
ok "without another step" test ! -e collapsed/policy/000003
ok "unless it is told to go on" quiet "$justrl" --stop-if '' --steps 3 collapsed
ok "a condition that jq cannot compile" fails_with 2 "'step == 2' is no jq expression" "$justrl" "${new[@]}" --stop-if 'step == 2' wrong
ok "one that fails on metrics" fails_with 2 "'.step.x' fails on the metrics of step 1" "$justrl" "${new[@]}" --steps 2 --stop-if .step.x collapsing

stopped() { # a signal in the middle: 75, and the next call ends with the same weights
    "$justrl" "${new[@]}" --steps 3 "$1" 2> err &
    local driver=$!
    sleep "$2"
    kill -TERM "$driver"
    wait "$driver"
    local status=$?
    [ "$status" -eq 75 ] || [ "$status" -eq 0 ] || { echo "status $status"; cat err; return 1; }
    quiet "$justrl" --steps 3 "$1" && same_weights whole "$1" 3 && steps_are "$1" "1 2 3 "
}
for t in 0.2 0.5 0.9; do ok "TERM after $t s" stopped "term-$t" "$t"; done

killed() { # kill -9 of driver and tools
    setsid "$justrl" "${new[@]}" --steps 3 "$1" 2> err &
    local driver=$!
    sleep "$2"
    pkill -9 -s "$driver"
    wait "$driver"
    [ ! -e "$1/lock" ] || flock -w 20 "$1/lock" true # the dead may hold it a moment longer
    quiet "$justrl" "${new[@]}" --steps 3 "$1" && same_weights whole "$1" 3 && steps_are "$1" "1 2 3 "
}
for t in 0.3 0.7 1.1; do ok "kill -9 after $t s" killed "kill-$t" "$t"; done

# An evaluation is continued like a batch.
large=("${new[@]}" --eval train=train.jrl --eval-max-tokens 60 --steps 0)
samples=eval/000000.train.jrl
n_records() { { jrl-view --fields uid "$1" 2> /dev/null || true; } | wc -l; }
ok "an evaluation on two benchmarks" quiet "$justrl" "${large[@]}" evaluated
cut_evaluation() { # RUN SIGNAL STATUS: of its 80 responses some are there
    setsid "$justrl" "${large[@]}" --batch 2 "$1" > out 2> err &
    local driver=$! status=0 n
    until [ "$(n_records "$1/$samples.part")" -gt 3 ] || ! kill -0 "$driver" 2> /dev/null; do sleep 0.02; done
    if [ "$2" = KILL ]; then pkill -KILL -s "$driver"; else kill "-$2" "$driver"; fi
    wait "$driver" || status=$?
    flock -w 20 "$1/lock" true
    n=$(n_records "$1/$samples.part")
    if [ "$status" -ne "$3" ] || [ "$n" -le 3 ] || [ "$n" -ge 80 ]; then echo "status $status, $n responses"; cat err; return 1; fi
}
for signal in KILL:137 TERM:75; do
    cut=cut-${signal%:*}
    ok "an evaluation cut by ${signal%:*}" cut_evaluation "$cut" "${signal%:*}" "${signal#*:}"
    ok "goes on" quiet "$justrl" --steps 0 "$cut"
    ok "to the same figures" cmp evaluated/eval/000000.json "$cut/eval/000000.json"
    ok "and leaves them alone" test "$(cd "$cut/eval" && echo *)" = 000000.json
done
# One group of the start, in which a response was made right by hand.
cut_evaluation taken KILL 137 > /dev/null 2>&1
first_group() { { jrl-view --header "taken/$samples.part" 2> /dev/null || true; } | sed -n 1,3p | perl -pe "$1" | jrl-pack --no-provenance; }
# shellcheck disable=SC2016 # perl's variables
first_group 'if ($. == 2) { ($a) = /"answer":"([^"]*)"/; s/"text":"(?:[^"\\]|\\.)*"/"text":"\\\\boxed{$a}"/ }' > first.jrl
cp first.jrl "taken/$samples.part"
cp -R taken changed
ok "what was sampled before a kill" quiet "$justrl" --steps 0 taken
ok "is not sampled again" jq -e '.overall.avg == 1 / (2 * 44)' taken/eval/000000.json
ok "a cut evaluation with other options of sampling" quiet "$justrl" --change --eval-temperature 0.4 --steps 0 changed
quiet "$justrl" "${large[@]}" --eval-temperature 0.4 other
ok "begins again" cmp other/eval/000000.json changed/eval/000000.json
jrl-cat -n 4 --drain parts/batches/000004.jrl > changed/batches/000001.jrl.part
ok "so does a cut batch" quiet "$justrl" --change --temperature 0.9 --steps 1 changed
# A whole batch that no step has learnt from yet.
cp "changed/batches/000001.jrl" "changed/batches/000002.jrl"
ok "a whole batch too" quiet "$justrl" --change --temperature 0.8 --steps 2 changed
ok "... is sampled anew" eval '! same changed/batches/000001.jrl changed/batches/000002.jrl'
ok "... with the new options" grep -q 'temperature=0.8' <(jrl-view --header changed/batches/000002.jrl)
cp "changed/batches/000002.jrl" "changed/batches/000003.jrl"
ok "... which other options of evaluation leave alone" exits 3 "$justrl" --change --eval-top-p 0.8 --steps 3 changed
ok "... (the update sees that it is another step's)" grep -q "field 'step' is 2, but this is step 3" changed/log/000003.log

cp test.jrl other.jrl
"$justrl" "${new[@]}" --eval other=other.jrl --steps 0 exact > /dev/null 2>&1
jrl-cat -n 1 test.jrl > other.jrl
ok "a benchmark that has changed under its name is refused" fails_with 2 'eval-digest other' "$justrl" --steps 1 exact
rm other.jrl
ok "one that is gone" fails_with 3 "no benchmark '.*other.jrl'" "$justrl" --steps 1 exact
ok "one that was never there, before a run begins" fails_with 3 "no benchmark '.*nowhere.jrl'" "$justrl" "${new[@]}" --eval none=nowhere.jrl --steps 1 none
ok "one with the name of another" fails_with 2 "two benchmarks are called 'test'" "$justrl" "${new[@]}" --eval test=train.jrl --steps 1 none
ok "one whose name is a path" fails_with 2 "NAME without '/'" "$justrl" "${new[@]}" --eval a/b=train.jrl --steps 1 none
ok "one that is no stream" fails_with 3 'train.txt' "$justrl" "${new[@]}" --eval none=train.txt --steps 1 none

late() { # the signal comes when the update of step 2 has its policy
    mkdir late-bin
    # shellcheck disable=SC2016 # the script's variables
    printf '%s\n' '#!/bin/bash' 'trap "" TERM' '"$JRL_BUILD/bin/jrl-update" "$@"' 'case "$*" in *"--step 2 "*) kill -TERM "$driver" ;; esac' > late-bin/jrl-update
    chmod +x late-bin/jrl-update
    # shellcheck disable=SC2016 # the inner shell's variables
    exits 75 env JRL_BUILD="$JRL_BUILD" PATH="$PWD/late-bin:$PATH" bash -c 'driver=$$ exec "$@"' - "$justrl" "${new[@]}" --steps 3 late 2> err || { cat err; return 1; }
    [ "$(readlink late/policy/latest) $(echo late/eval/000002*)" = '000002 late/eval/000002*' ]
}
ok "TERM at the end of an update: the evaluation is left to the next call" late
ok "which makes it" quiet "$justrl" --steps 3 late
ok "as ever" cmp whole/eval/000002.json late/eval/000002.json

# A program that fails while its driver writes a file leaves no half file.
instead() { # PROGRAM WORD COMMAND: what PROGRAM does when WORD is among its arguments
    rm -rf instead && mkdir instead
    printf '%s\n' '#!/bin/bash' "case \"\$*\" in *$2*) $3 ;; esac" "exec '$(command -v "$1")' \"\$@\"" > "instead/$1"
    chmod +x "instead/$1"
}
driver() { env JRL_BUILD="$JRL_BUILD" PATH="$PWD/instead:$PATH" "$@"; }
instead jrl-model hash 'echo "jrl-model: error: Input/output error" >&2; exit 1'
ok "a start policy that cannot be read to its end" fails_with 1 'Input/output error' driver "$justrl" "${new[@]}" --steps 1 unread
ok "leaves no half recipe" eval 'test ! -e unread/recipe && quiet "$justrl" "${new[@]}" --steps 1 unread && quiet "$justrl" unread'
instead jq 'fromjson?' 'exit 137'
cp whole/metrics.jsonl metrics.before
ok "a jq that is killed" exits 137 driver "$justrl" whole
ok "leaves the metrics of all steps" cmp metrics.before whole/metrics.jsonl
# As Slurm does, which signals every process of a job, and a terminal.
instead jrl-model hash 'kill -TERM 0; sleep 60'
ok "TERM to the driver and what it runs" exits 75 driver setsid -w "$justrl" "${new[@]}" --steps 1 signalled
ok "is made good by the next call" quiet "$justrl" "${new[@]}" --steps 1 signalled
instead sync batches/000001.jrl.part 'kill -TERM $PPID'
ok "TERM behind the sampling" exits 75 driver "$justrl" "${new[@]}" --eval-every 2000 --steps 1 between
ok "lets no update begin" test -f between/batches/000001.jrl -a "$(readlink between/policy/latest)" = 000000

ok "status" "$justrl" status whole
said() { "$justrl" status "$1" | grep -Eq "$2"; }
ok "status: the step" said parts '^step +4 of 4$'
ok "status: rate and time left" eval 'said parts "^rate +[0-9.]+ s a step$" && said parts "^left +[0-9.]+ h$"'
ok "status: metrics and evaluation" eval 'said whole "^metrics +.*reward -?[0-9]" && said whole "^eval +step 2: avg@2 [0-9.]+ \([0-9.]+ to [0-9.]+\)$"'
ok "status: whether it runs" said whole '^state +not running$'
ok "status of something else" fails_with 3 'not a run folder' "$justrl" status start
ok "--plan prints bytes" sh -c "'$justrl' --plan --policy start ${sizes[*]} x | grep -q 'written by a step'"
ok "--plan prints memory" sh -c "'$justrl' --plan --policy start ${sizes[*]} x | grep -c '^total' | grep -qx 2"
ok "--plan makes no folder" test ! -e x
ok "a memory that is too small" fails_with 2 'more than the 1000000 it may use' "$justrl" --plan --memory 1000000B --policy start "${sizes[@]}" x
ok "--memory goes to the tools that run a model" sh -c "'$justrl' --print --memory 3G ${new[*]} x | grep -o -- '--memory 3G' | wc -l | grep -qx 2"
ok "--print shows the pipelines" sh -c "'$justrl' --print ${new[*]} x | grep -q 'jrl-batch.*jrl-sample'"
ok "an unknown option" fails_with 2 "unknown option '--lrr'" "$justrl" --lrr 1 x
ok "a number that is none" fails_with 2 'wants a whole number' "$justrl" --steps many x
for words in '--save-every 0' '--eval-every 0' '--mini-batch 0' '--steps 99999999999999999999' '--keep-batches some'; do
    # shellcheck disable=SC2086
    ok "$words" fails_with 2 "option '${words% *}' wants a whole number" "$justrl" "${new[@]}" $words wrong
done
ok "zeros in front" quiet "$justrl" "${new[@]}" --save-every 08 --steps 00 zeros
ok "are none of the value" grep -qx 'save-every 8' zeros/recipe
for words in '-- 1' '--= 1' '--@ 1'; do
    # shellcheck disable=SC2086
    ok "no option: $words" fails_with 2 'unknown option' "$justrl" $words wrong
done
# Of every tool, before there is a folder, so that nothing is sampled for it and no recipe records it.
for words in '--batch-size 2000000' '--top-p 3' '--rule nobody' '--reward 1' '--estimator none' '--lr nan' '--max-tokens 5000' \
    '--eval-top-p 3' '--memory 1M'; do
    # shellcheck disable=SC2086
    ok "refused at once: $words" fails_with 2 'jrl-[a-z]*: error: ' "$justrl" "${new[@]}" $words wrong
done
ok "a policy that is not there" fails_with 3 "no policy folder 'nowhere'" "$justrl" "${new[@]}" --policy nowhere wrong
ok "none of these leaves a folder" test ! -e wrong
ok "with --change neither" fails_with 2 'jrl-update: error: ' "$justrl" --change --lr nan --steps 9 parts
ok "... is it recorded" exits 1 grep -q '^lr nan' parts/recipe
mv start away
ok "the start policy is not needed after its step" quiet "$justrl" --steps 5 parts
mv away start
mv train.jrl away.jrl
ok "the data are" fails_with 3 "no data file '.*/train.jrl'" "$justrl" --steps 6 parts
mv away.jrl train.jrl
ok "--print: a run's own options" sh -c "'$justrl' --print parts | grep -q -- '--max-tokens 12 '"
ok "no run folder" fails_with 2 'no run folder' "$justrl"
ok "a new run without a policy" fails_with 2 'needs --policy' "$justrl" x
if command -v gnuplot > /dev/null; then
    ok "curves as SVG" sh -c "'$JRL_TOP/pipelines/plot' -o run.svg whole && grep -q '</svg>' run.svg"
    ok "curves as PNG" sh -c "'$JRL_TOP/pipelines/plot' -o run.png whole && head -c 4 run.png | grep -q PNG"
    ok "curves in the terminal" sh -c "'$JRL_TOP/pipelines/plot' whole | grep -q reward"
else
    skip "curves" "gnuplot is not installed"
fi
done_testing
