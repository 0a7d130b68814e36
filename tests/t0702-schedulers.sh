#!/usr/bin/env bash
# The EXAMPLES of jrl-run(7) for cron and Slurm, as they are printed: a job is stopped in every way in which a scheduler stops one, and
# the run ends in the weights of one that was never stopped.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"

ln -s "$JRL_TOP/pipelines" pipelines
mandoc -Tascii -O width=400 "$JRL_TOP/man/jrl-run.7" | col -bx | sed -n '/^EXAMPLES/,/^SEE/s/^ \{11\}//p' > examples
sed -n '/^#!/,/^exec/p' examples > job.sh
awk -f pipelines/demo.awk -v kind=problems -v part=train -v count=40 -v seed=1 -v digits=2 | jrl-import -q --source train -o train.jrl
jrl-model make -q --shape dim=64,layers=2,heads=2,kv-heads=1,mlp=128,positions=128 --tokenizer pipelines/demo-tokenizer -o start
begin() { # RUN STEPS: the first example, with small sizes
    local line
    line=$(grep -- '--steps 100 run$' examples) || return 1
    bash -c "${line% --steps 100 run} --steps $2 --batch-size 16 --samples 8 --mini-batch 8 --max-prompt-tokens 64 --max-tokens 40 --lr 1e-3 --threads 1 $1" > out 2>&1 || { cat out; return 1; }
}
same_weights() { cmp whole/policy/latest/model.safetensors run/policy/latest/model.safetensors; }

ok "a run that is never stopped" begin whole 5
ok "one that is to be stopped" begin run 0
echo 'steps 5' > run/settings # as the driver leaves it when it is stopped at once

# job HOW SECONDS: the script as Slurm runs it, in processes of its own; a signal HOW after SECONDS. Prints how it ended.
job() {
    setsid bash job.sh > job.log 2>&1 &
    local shell=$! status=0
    sleep "$2"
    case $1 in
    shell) kill -TERM "$shell" ;;  # --signal=B:TERM
    all) pkill -TERM -s "$shell" ;; # a preemption
    kill) pkill -KILL -s "$shell" ;; # its time is up
    esac
    wait "$shell" || status=$?
    flock -w 20 run/lock true
    echo "$status"
}
stopped() { # HOW SECONDS STATUS: so, or the run was finished by then
    local status
    status=$(job "$1" "$2")
    [ "$status" -ne "$3" ] || echo "$1" >> at-work
    [ "$status" -eq "$3" ] || [ "$status" -eq 0 ] || { echo "status $status"; cat job.log; return 1; }
}
ok "the job's script" bash -n job.sh
for t in 0.4 0.9; do
    ok "its shell gets TERM after $t s: 75" stopped shell "$t" 75
    ok "every process does: 75" stopped all "$t" 75
    ok "every process is killed" stopped kill "$t" 137
done
ok "some of these found it at work" test -s at-work
ok "the last of the array" test "$(job none 0)" -eq 0
ok "ends in the same weights" same_weights
ok "another finds nothing to do" test "$(job none 0)" -eq 0
ok "and says nothing" test ! -s job.log

# cron LINE: what sh is given by it, where PATH is short and there are no other variables.
cron() {
    local command
    command=$(grep -F -- "$1" examples | sed "s|^\([^ ]* \)\{5\}||; s|/usr/local/share/jrl|$PWD|g; s|/data/|$PWD/|g; s|10h|${2:-60}|") || return 1
    env -i HOME="$PWD" PATH=/usr/bin:/bin JRL_BUILD="$(realpath --relative-to "$JRL_TOP" "$JRL_BUILD")" sh -c "$command" > mail 2>&1
}
rm run.log 2> /dev/null
ok "cron, when the run is finished" cron '*/5'
ok "sends no mail" test ! -s mail
echo 'steps 6' > run/settings
ok "cron for some hours, which are up at once" exits 124 cron timeout 0.05
ok "cron, which goes on" cron '*/5'
ok "and finishes" test "$(readlink run/policy/latest)" = 000006
ok "without mail, but with a log" test ! -s mail -a -s run.log
ok "a sixth step without cron" pipelines/justrl --steps 6 whole
ok "has the same weights" same_weights
done_testing
