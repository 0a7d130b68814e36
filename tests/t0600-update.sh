#!/usr/bin/env bash
# jrl-update: the same bits however it is run, resumed runs, metrics, and each way to learn.
# shellcheck disable=SC2016 # dollars of inner shells
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"
# shellcheck source=tests/batch.sh
. "$JRL_TOP/tests/batch.sh"

weights() { sha256sum < "$1/model.safetensors"; }
update() { jrl-update --lr 1e-3 --warmup 0 --mini-batch 2 "$@" > /dev/null; }
same_update() { # NAME OPTIONS...: as a, in weights and in all of the optimiser's state
    local name=$1 file
    shift
    update --policy p0 --out "same/$name" "$@" b1.jrl || return 1
    for file in model optimizer/master optimizer/m optimizer/v; do cmp "a/$file.safetensors" "same/$name/$file.safetensors" || return 1; done
    [ "$(without_times a/metrics.json)" = "$(without_times "same/$name/metrics.json")" ]
}
without_is() { without_times "$1" | jq -c 'with_entries(select(.key | test("^(old_|is_)") | not))'; } # what the pass over old logprobs adds
same_update_checked() { # everything but what the check adds
    update --policy p0 --out checked --recompute-old --micro-tokens 100 b1.jrl && cmp a/model.safetensors checked/model.safetensors &&
        cmp a/optimizer/v.safetensors checked/optimizer/v.safetensors &&
        [ "$(without_is a/metrics.json)" = "$(without_is checked/metrics.json)" ]
}
mkdir same
small_policy p0 && batch p0 1 > b1.jrl
small_policy pf --dtype f32 && batch pf 1 --dtype f32 > bf.jrl
ok 'one step' update --policy p0 --out a b1.jrl
ok 'the new policy opens' jrl-model info a
ok 'its id is in the metrics' test "$(jrl-model hash a)" = "$(metric a .policy)"
ok 'the weights have changed' exits 1 cmp -s p0/model.safetensors a/model.safetensors
ok 'the first ratio is exactly 1' test "$(metric a '.ratio_first_min == 1 and .ratio_first_max == 1')" = true
ok 'later ratios are not' test "$(metric a '.ratio_max > 1')" = true
ok 'metrics count the batch' test "$(metric a '[.step, .rollouts, .groups, .reward, .accuracy, .groups_right, .groups_wrong, .updates, .skipped] | @csv')" = 1,24,6,0,0.5,0,0,3,0
ok 'metrics name their parent' test "$(metric a .parent)" = "$(jrl-model hash p0)"
ok 'metrics have every key' test "$(metric a '[.length, .length_min, .length_max, .truncated, .off_policy, .loss, .nll, .entropy, .ratio_mean, .clip_low,
    .clip_high, .clip_dual, .kl_old, .kl_old_k3, .kl_ref, .grad_norm, .grad_norm_max, .lr, .tokens, .tokens_per_second, .seconds.total, .seconds.read,
    .seconds.train, .seconds.optimizer, .seconds.write] | map(type) | unique | join(" ")')" = number

# The same bits
ok 'again' same_update again
for threads in 1 2 3; do JRL_THREADS=$threads ok "with $threads threads" same_update "threads$threads"; done
for tokens in 1 100 65536; do ok "with --micro-tokens $tokens" same_update "micro$tokens" --micro-tokens "$tokens"; done
for how in none mlp layer; do ok "with --recompute $how" same_update "recompute-$how" --recompute "$how" --micro-tokens 100; done
for path in amx avx512bf16 avx512 avx2; do # each with those above it
    ok "without $path" env JRL_DISABLE="$path" bash -c "$(declare -f update same_update without_times); same_update ${path//,/-}"
done
ok 'through a pipe' bash -c 'cat b1.jrl | jrl-update --lr 1e-3 --warmup 0 --mini-batch 2 --policy p0 --out same/pipe > /dev/null && cmp a/model.safetensors same/pipe/model.safetensors'
ok 'in f32' update --policy p0 --out f1 --dtype f32 --threads 1 b1.jrl
JRL_THREADS=2 ok 'in f32, two threads, small passes' update --policy p0 --out f2 --dtype f32 --micro-tokens 64 b1.jrl
ok 'the same f32 weights' same f1/model.safetensors f2/model.safetensors
ok 'written as f32' test "$(jrl-model info --json f1 | jq -r .dtype)" = float32

# Old logprobs
ok 'with --recompute-old' same_update_checked
ok '... all tokens are compared, none differs' test "$(metric checked '[.old_compared == 24 * .length, .old_different, .old_difference] | @csv')" = true,0,0
ok '... as many as there are' test "$(metric checked .old_compared)" = "$(jrl-view b1.jrl | jq -s '[.[].tokens["$u32"] | length] | add')"
ok '... in f32' update --policy pf --out checked-f32 --dtype f32 --recompute-old --micro-tokens 64 bf.jrl
ok '... none differs' test "$(metric checked-f32 .old_different)" = 0
rewrite 'if .draw == 4 and .sample == 1 then .logprobs["$f32"][0] += 1e-6 else . end' < b1.jrl > bent.jrl
ok 'a logprob that is a little off, in the third mini-batch' fails_with 3 'record 18 of the batch: the logprob of token 0 is .*1 of [0-9]+ tokens .* differ, by at most [0-9.]+e-0[67]' \
    jrl-update --lr 1e-3 --warmup 0 --mini-batch 2 --policy p0 --out bent --recompute-old bent.jrl
ok '... passes without' update --policy p0 --out bent bent.jrl
ok 'a logprob in another type' fails_with 3 'in f32; .*another --dtype' jrl-update --policy p0 --out other --recompute-old --dtype f32 b1.jrl
ok 'rollouts of another policy are only counted' update --policy a --fresh-optimizer --out off --recompute-old --allow-off-policy b1.jrl
ok '... and differ' test "$(metric off '.old_different > 0 and .old_difference > 0 and .old_different <= .old_compared')" = true
ok 'not with nll' fails_with 2 "'--recompute-old' has no effect" jrl-update --objective nll --policy p0 --out nll --recompute-old b1.jrl

# A sampler that computed other logprobs. What comes from the records alone, in double, is the reference (jq).
same_update_capped() {
    update --policy p0 --out capped --is-cap 2 --micro-tokens 100 b1.jrl && cmp a/model.safetensors capped/model.safetensors &&
        cmp a/optimizer/v.safetensors capped/optimizer/v.safetensors && [ "$(without_is a/metrics.json)" = "$(without_is capped/metrics.json)" ]
}
ok 'the mismatch of an own sampler is none' test "$(metric a '[.mismatch_mean, .mismatch_max, .mismatch_share, .is_weight_mean, .is_capped] | @csv')" = 0,0,0,,
ok '--is-cap changes no bit then' same_update_capped
ok '... all weights are 1' test "$(metric capped '[.is_weight_mean, .is_weight_max, .is_capped, .old_different, .old_difference_mean] | @csv')" = 1,1,0,0,0
jrl-logprob --policy p0 --as old b1.jrl > trainer.jrl
rewrite '.logprobs["$f32"] |= [to_entries[] | .value + (if .key % 3 == 0 then 0 else ((.key * 7 + 3) % 11 - 5) / 4 end)]' < trainer.jrl > drifted.jrl
ok 'with logprobs of another engine' update --policy p0 --out drifted --is-cap 1.5 --micro-tokens 64 drifted.jrl
jrl-view --plain drifted.jrl | jq -s '[.[] | select(.tokens) | [.old_logprobs, .logprobs] | transpose[] | .[0] - .[1]] as $d | ($d | length) as $n |
    {weights: ($d | map([exp, 1.5] | min) | add / $n), capped: ($d | map(select(exp > 1.5)) | length / $n), n: $n,
     max: ($d | map(fabs) | max), mean: ($d | map(fabs) | add / $n), different: ($d | map(select(. != 0)) | length)}' > expected.json
near() { # the metrics of drifted are what the records say
    jq -en --slurpfile m drifted/metrics.json --slurpfile e expected.json '$m[0] as $m | $e[0] as $e | def near($a; $b): ($a - $b | fabs) < 1e-6;
        near($m.is_weight_mean; $e.weights) and near($m.is_capped; $e.capped) and $m.is_weight_max == 1.5 and $m.old_compared == $e.n and
        $m.old_different == $e.different and near($m.old_difference; $e.max) and near($m.old_difference_mean; $e.mean) and
        $e.capped > 0.1 and $e.capped < 0.9 and $m.ratio_first_min == 1 and $m.ratio_first_max == 1'
}
ok '... weights and differences are those of the records' near
ok '... and change the update' exits 1 cmp -s a/model.safetensors drifted/model.safetensors
ok '... also the mismatch of the first mini-batch' test "$(metric drifted '.mismatch_mean > 0.3 and .mismatch_max > 1.24 and .mismatch_share > 0.4 and .mismatch_share < 0.7')" = true
rewrite 'del(.old_logprobs)' < drifted.jrl > foreign.jrl
ok '... which is measured without --is-cap, too' update --policy p0 --out foreign foreign.jrl
ok '... as much' test "$(metric foreign '[.mismatch_mean, .mismatch_max, .mismatch_share]')" = "$(metric drifted '[.mismatch_mean, .mismatch_max, .mismatch_share]')"
ok '... but then the ratios suffer' test "$(metric foreign '.ratio_first_max > 2 and .is_weight_mean == null')" = true
ok 'old logprobs of the record are not read' update --policy p0 --out same/foreign --is-cap 1.5 foreign.jrl
ok '... the same bits, also in other passes' same drifted/model.safetensors same/foreign/model.safetensors
ok '--recompute-old refuses what --is-cap corrects' fails_with 3 'record 1 of the batch: the logprob of token' \
    jrl-update --policy p0 --out refused --recompute-old foreign.jrl
ok '... and so one excludes the other' fails_with 2 'exclude each other' jrl-update --policy p0 --out refused --recompute-old --is-cap 2 b1.jrl
ok '... and neither goes with nll' fails_with 2 "'--is-cap' has no effect" jrl-update --objective nll --policy p0 --out nll --is-cap 2 b1.jrl
rewrite 'if .sample % 2 == 1 then .logprobs["$f32"][] -= 1 else . end' < b1.jrl > unlikely.jrl
rewrite 'if .sample % 2 == 1 then .advantage *= 2 else . end' < b1.jrl > doubled.jrl
ok 'weights of exactly 2' update --policy p0 --out unlikely --is-cap 2 unlikely.jrl
ok '... are advantages twice as large' update --policy p0 --out doubled doubled.jrl
ok '... bit for bit' same unlikely/model.safetensors doubled/model.safetensors

# Resuming
examples() { # STEP: supervised examples of a batch
    problems "$1" 6 | jq -c 'if .jrl then . else .text = "the answer is \(.uid * 7)" end'
}
examples 1 | jrl-pack --kind rollout > e1.jrl
examples 2 | jrl-pack --kind rollout > e2.jrl
{ examples 1; examples 2; } | jrl-pack --kind rollout > e12.jrl
supervise() { jrl-update --objective nll --lr 1e-2 --warmup 4 --mini-batch 2 "$@" > /dev/null; }
ok 'supervised step 1' supervise --policy p0 --out s1 e1.jrl
ok 'supervised step 2' supervise --policy s1 --out s2 e2.jrl
ok 'both in one process' supervise --policy p0 --out s12 e12.jrl
for file in model optimizer/master optimizer/m optimizer/v; do ok "as two processes: $file" same "s2/$file.safetensors" "s12/$file.safetensors"; done
ok 'steps and updates are counted on' test "$(jq -c '[.step, .updates]' s2/state.json s12/state.json)" = $'[2,6]\n[2,6]'
ok 'the chain of policies' test "$(jq -r .parent s2/state.json)" = "$(jrl-model hash s1)"
ok 'one line a step' jrl-update --objective nll --lr 1e-2 --warmup 4 --mini-batch 2 --policy p0 --out lines --metrics lines.jsonl e12.jrl
ok 'with the warm-up' test "$(values lines.jsonl | jq -c '[.step, .lr, .updates]')" = $'[1,0,3]\n[2,0.0025,3]'
ok 'a second step of the policy objective' bash -c "$(declare -f update batch problems rewrite); batch a 2 | update --policy a --out a2"
ok 'step 2' test "$(metric a2 '[.step, .ratio_first_max]' | jq -c .)" = '[2,1.0]' -o "$(metric a2 '[.step, .ratio_first_max]' | jq -c .)" = '[2,1]'
ok 'fresh state where it is asked for' update --policy a --out fresh --fresh-optimizer --allow-off-policy b1.jrl
ok 'starts to count again' test "$(jq -c '[.step, .updates]' fresh/state.json)" = '[1,3]'
rm -r a2/optimizer
ok 'without optimizer/ it is fresh state' bash -c "$(declare -f update batch problems rewrite); batch a2 1 | update --policy a2 --out fresh2 --step 1"

# Learning rate 0 in the first step of the recipe: only the moments move
ok 'first step of a warm-up' jrl-update --policy p0 --out w1 -o w1.json b1.jrl
ok 'leaves the weights' same p0/model.safetensors w1/model.safetensors
ok 'but not the moments' exits 1 cmp -s w1/optimizer/m.safetensors w1/optimizer/v.safetensors
ok 'the output has the line of metrics.json' same w1.json w1/metrics.json
ok '--metrics appends' jrl-update --policy p0 --out w2 --metrics w1.json b1.jrl
ok 'a second line' test "$(wc -l < w1.json)" = 2

# Objectives
jrl-logprob --policy p0 --as ref b1.jrl > ref.jrl
jrl-logprob --policy p0 --as old b1.jrl > old.jrl
ok 'recomputed old logprobs give the same bits' update --policy p0 --out old old.jrl
ok 'the same' same a/model.safetensors old/model.safetensors
for kl in k1 k2 k3; do ok "with $kl" update --policy p0 --out "$kl" --kl "$kl" --kl-coef 0.1 ref.jrl; done
ok 'a reference pulls back' test "$(jq -n --slurpfile a a/metrics.json --slurpfile b k2/metrics.json '$b[0].kl_ref < $a[0].kl_old_k3 * 2 and $b[0].kl_ref > 0')" = true
for name in seq-mean-token-mean seq-mean-token-sum; do ok "with $name" update --policy p0 --out "$name" --aggregate "$name" b1.jrl; done
ok 'verl-micro with small passes' update --policy p0 --out v1 --aggregate verl-micro --verl-ranks 2 --micro-tokens 60 b1.jrl
ok 'verl-micro with one pass a rank' update --policy p0 --out v2 --aggregate verl-micro --verl-ranks 2 --micro-tokens 60000 b1.jrl
ok 'are not the same' exits 1 cmp -s v1/model.safetensors v2/model.safetensors
ok 'an entropy bonus raises the entropy' update --policy p0 --out h --entropy-coef 1 b1.jrl
ok 'compared with none' test "$(jq -n --slurpfile a a/metrics.json --slurpfile b h/metrics.json '$b[0].entropy > $a[0].entropy')" = true
ok 'a stream without boundaries is one batch' bash -c 'jrl-view b1.jrl | jrl-pack | jrl-update --lr 1e-3 --warmup 0 --mini-batch 2 --policy p0 --out nob > /dev/null'
ok 'the same step' same a/model.safetensors nob/model.safetensors

# What is skipped is said
rewrite '.advantage = 1e300' < b1.jrl > huge.jrl
ok 'a gradient that is not finite' jrl-update --policy p0 --out skip --lr 1e-3 --warmup 0 --mini-batch 2 -o /dev/null huge.jrl
ok 'is a warning' bash -c 'jrl-update --policy p0 --out skip2 --mini-batch 2 -o /dev/null huge.jrl 2>&1 | grep -q "warning: step 1: an update was skipped"'
ok 'and a metric' test "$(metric skip '[.updates, .skipped] | @csv')" = 0,3
ok 'and changes nothing' same p0/model.safetensors skip/model.safetensors
batch p0 1 --top-p 0.9 > topp.jrl
ok 'top-p is warned of' bash -c 'jrl-update --policy p0 --out topp -o /dev/null topp.jrl 2>&1 | grep -q "warning: step 1: rollouts were sampled with top-p"'
ok 'a whole step says nothing' bash -c 'test -z "$(jrl-update --policy p0 --out quiet -o /dev/null b1.jrl 2>&1)"'

# Memory: a mini-batch is held, not the batch, whose tokens and logprobs would be 4.5 MB more
groups() { # N: rollouts of 240 tokens, four to a group
    perl -e 'for my $d (1 .. $ARGV[1]) { for my $s (0 .. 3) { print qq({"uid":$d,"draw":$d,"step":1,"sample":$s,"samples":4,"temperature":1.0,"policy":"$ARGV[0]",),
        qq("advantage":1.0,"prompt_tokens":{"\$u32":[1,2]},"tokens":{"\$u32":[), join(",", map { $_ % 250 } 1 .. 240), qq(]},"logprobs":{"\$f32":[),
        join(",", (-5.5) x 240), qq(]}}\n) } } print qq({"jrl":"batch","k":1}\n)' "$(jrl-model hash small)" "$1" | jrl-pack --kind rollout
}
peak_kib() { # COMMAND...
    /usr/bin/python3 -c 'import resource, subprocess, sys
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss if status == 0 else "failed")' "$@"
}
held() {
    local few many
    few=$(peak_kib jrl-update -q --policy small --out "few" --mini-batch 16 --micro-tokens 4096 --threads 1 few.jrl)
    many=$(peak_kib jrl-update -q --policy small --out "many" --mini-batch 16 --micro-tokens 4096 --threads 1 many-groups.jrl)
    echo "$few KiB for 20 groups, $many for 400"
    [ "$few" -gt 5000 ] && [ "$((many - few))" -le 2048 ]
}
case $JRL_BUILD in
*asan) skip 'a mini-batch is held, not the batch' 'the sanitizers keep what was freed' ;;
*)
    jrl-model make -q --shape dim=32,layers=1,heads=2,kv-heads=1,mlp=32,positions=256 -o small
    groups 20 > few.jrl
    groups 400 > many-groups.jrl
    ok 'a mini-batch is held, not the batch' held
    ;;
esac

# It learns
many() { for step in 1 2 3 4 5 6 7 8 9 10; do examples "$step"; done | jrl-pack --kind rollout; }
many > many.jrl
ok 'supervised examples are learnt' jrl-update --objective nll --lr 1e-2 --warmup 0 --mini-batch 3 --policy p0 --out taught --metrics taught.jsonl many.jrl
ok 'the loss falls' test "$(jq -s '.[0].loss > 2.5 and .[-1].loss < 0.8 * .[0].loss' taught.jsonl)" = true
ok 'right responses become likelier, wrong ones less' bash -c '
    jrl-logprob --policy a --as new b1.jrl | jrl-view --plain | jq -se "
        map({right: .correct, gain: ((.new_logprobs | add) - (.logprobs | add))}) | group_by(.right) | map(map(.gain) | add) | .[0] < 0 and .[1] > 0"'
done_testing
