# jrl-advantage: every estimator through the tool against the golden formulas, whole batches, spoiled groups, memory.
# shellcheck shell=bash
. "$(dirname "$0")/tap.sh"
golden=$JRL_TOP/tests/golden/advantage.txt

# Case N (from 1) of the golden file as a stream: one batch.
golden_stream() {
    awk -v want="$1" '
        $1 == "case" { n++; next }
        n != want { next }
        $1 == "group" { samples = $2; sample = 0; draw++; next }
        { tokens = ""; for (i = 0; i < $2; i++) tokens = tokens (i ? "," : "") i
          printf "{\"uid\":7,\"draw\":%d,\"sample\":%d,\"samples\":%d,\"reward\":%s,\"tokens\":{\"$u32\":[%s]}}\n", draw, sample++, samples, $1, tokens }
        END { print "{\"jrl\":\"batch\",\"k\":1}" }' "$golden" | jrl-pack --kind rollout
}
# agrees N OPTIONS...: the tool gives the advantages of case N, to 1e-6
agrees() {
    local n=$1
    shift
    golden_stream "$n" | jrl-advantage "$@" | jrl-view --fields advantage | jq .advantage > got || return 1
    awk -v want="$n" '$1 == "case" { n++; next } n == want && $1 != "group" { print $3 }' "$golden" > want
    paste want got | awk 'NF != 2 || !($1 - $2 <= 1e-6 && $2 - $1 <= 1e-6) { print "line " NR ": " $0; bad = 1 } END { exit bad || NR == 0 }'
}
n=0
while read -r _ estimator epsilon whiten _; do
    n=$((n + 1))
    options=(--estimator "$estimator")
    case $estimator in
    grpo) options+=(--epsilon "$epsilon") ;;
    reinforce*) options+=(--whiten "$whiten") ;;
    esac
    ok "published formula $n: ${options[*]}" agrees "$n" "${options[@]}"
done < <(grep '^case' "$golden")
ok 'all eight cases' test "$n" = 8
ok 'grpo is the default' agrees 1

# groups FIRST COUNT SAMPLES: rollouts with rewards, two groups of a problem side by side
groups() {
    awk -v first="$1" -v count="$2" -v samples="$3" 'BEGIN { for (g = first; g < first + count; g++) for (s = 0; s < samples; s++)
        printf "{\"uid\":%d,\"draw\":%d,\"sample\":%d,\"samples\":%d,\"reward\":%d,\"keep\":\"%d.%d\"}\n", g / 2, g, s, samples, (g * 7 + s * s) % 3 ? -1 : 1, g, s }'
}
{ groups 0 4 4; echo '{"jrl":"batch","k":1}'; groups 4 4 4; echo '{"jrl":"batch","k":2}'; } > two.jsonl
jrl-pack two.jsonl > two.jrl
whiten=(--estimator reinforce++-baseline)
for options in '' '--estimator reinforce++-baseline' '--permute 5' '--estimator rloo --permute 5'; do
    # shellcheck disable=SC2086
    jrl-advantage $options two.jrl | jrl-view --header | grep -v '"\(header\|end\)"' > out.jsonl
    ok "records and boundaries in their place: $options" cmp <(jq -c '[.keep, .k]' two.jsonl) <(jq -c '[.keep, .k]' out.jsonl)
done
ok 'each batch is whitened by itself' cmp <(jrl-advantage "${whiten[@]}" two.jrl | jrl-view --fields advantage | tail -n 16) \
    <(sed -n '18,$p' two.jsonl | jrl-pack | jrl-advantage "${whiten[@]}" | jrl-view --fields advantage)
ok 'a segment without boundaries is one batch' cmp <(head -n 16 two.jsonl | jrl-pack | jrl-advantage "${whiten[@]}" | jrl-view) \
    <(head -n 17 two.jsonl | jrl-pack | jrl-advantage "${whiten[@]}" | jrl-view)
sorted() { jrl-view --fields advantage | head -n 16 | sort; }
ok 'permuted: the same advantages' cmp <(jrl-advantage two.jrl | sorted) <(jrl-advantage --permute 1 two.jrl | sorted)
ok '... in other places' bash -c '! cmp -s <(jrl-advantage two.jrl | jrl-view) <(jrl-advantage --permute 1 two.jrl | jrl-view)'
ok '... that the seed decides' bash -c '! cmp -s <(jrl-advantage --permute 2 two.jrl | jrl-view) <(jrl-advantage --permute 1 two.jrl | jrl-view)'
ok '... again and again' cmp <(jrl-advantage --permute 1 two.jrl | jrl-view) <(jrl-advantage --permute 1 two.jrl | jrl-view)
ok '... and the number of the batch' cmp <(jrl-advantage --permute 1 two.jrl | jrl-view | tail -n 16) \
    <(sed -n '18,$p' two.jsonl | jrl-pack | jrl-advantage --permute 1 | jrl-view)
ok 'a group is written when it is whole' test "$( (groups 0 1 4; sleep 3) | jrl-pack | jrl-advantage | timeout 2 jrl-view -n 4 | wc -l)" = 4

# spoiled 'REGEX' 'SED SCRIPT': a message that names the group, nothing left behind, for both ways of working
spoiled() {
    local options
    sed -E "$2" two.jsonl | jrl-pack > spoiled.jrl
    for options in --epsilon=1e-6 --permute=1; do
        fails_with 3 "$1" jrl-advantage "$options" -o out.jrl spoiled.jrl || return 1
        [ ! -e out.jrl ] || return 1
    done
}
ok 'a missing sample' spoiled 'group of uid 0, draw 1 is incomplete: 3 of 4 samples, the first missing is 1' '6d'
ok 'the last one missing before a boundary' spoiled 'group of uid 1, draw 3 is incomplete: 3 of 4 samples' '16d'
ok 'the last one missing at the end' spoiled 'group of uid 3, draw 7 is incomplete: 3 of 4 samples' '17d;33,34d'
ok 'a sample twice' spoiled 'group of uid 0, draw 0: sample 1 comes twice' '3s/"sample":2/"sample":1/'
ok 'a group twice' spoiled 'group of uid 0, draw 0 comes twice' '5,8s/"draw":1/"draw":0/'
ok 'two problems in one group' spoiled 'group of uid 0, draw 0 is mixed: a member has uid 9' '3s/"uid":0/"uid":9/'
ok 'two sizes in one group' spoiled "group of uid 0, draw 0 is mixed: field 'samples' is 4 in one member and 8 in another" '3s/"samples":4/"samples":8/'
# shellcheck disable=SC2016 # a policy id is made of the draw, then of the sample
ok 'rollouts may name their policy' bash -c 'sed -E "s/\"draw\":([0-9])/&,\"policy\":\"p\1\"/" two.jsonl | jrl-pack | jrl-advantage > /dev/null'
ok 'two policies in one group' spoiled "record 3: group of uid 0, draw 0 is mixed: field 'policy' is aa in one member and bb in another" '1,2s/"reward"/"policy":"aa",&/;3,4s/"reward"/"policy":"bb",&/'
ok 'a policy in one member only' spoiled "record 3: group of uid 0, draw 0 is mixed: field 'policy' is in one member and not in another" '3s/"reward"/"policy":"bb",&/'
ok 'a policy that is no text' spoiled "record 1: field 'policy' is an integer" '1s/"reward"/"policy":5,&/'
ok 'no reward' spoiled "record 3: field 'reward' is missing; jrl-verify" '3s/"reward"/"points"/'
# shellcheck disable=SC2016 # $num is a key
ok 'a reward that is no number' spoiled "record 3: field 'reward' is not a finite number" '3s/"reward":-?1/"reward":{"$num":"NaN"}/'
ok 'groups that were interleaved' spoiled 'incomplete' '2{h;d};6{G}'
ok 'no uid' spoiled "field 'uid' is missing" '1s/"uid"/"id"/'
ok 'tokens to whiten by, but none there' fails_with 3 "field 'tokens' is missing; --whiten rollouts" jrl-advantage "${whiten[@]}" --whiten tokens two.jrl

ok 'epsilon without effect' fails_with 2 'epsilon has no effect with --estimator rloo' jrl-advantage --estimator rloo --epsilon 0 two.jrl
ok 'whiten without effect' fails_with 2 'whiten has no effect with --estimator grpo' jrl-advantage --whiten tokens two.jrl
ok 'an unknown estimator' fails_with 2 'grpo\|dr-grpo\|rloo\|reinforce' jrl-advantage --estimator ppo two.jrl
ok 'no folder for the temporary file' fails_with 1 'TMPDIR' env TMPDIR="$PWD/none" jrl-advantage --permute 1 two.jrl
mkdir spool
ok 'the temporary file has no name' bash -c "TMPDIR=spool jrl-advantage --permute 1 two.jrl > /dev/null && [ -z \"\$(ls -A spool)\" ]"

# 65,536 rollouts in one batch: at most 64 MiB resident.
{ groups 0 8192 8; echo '{"jrl":"batch","k":1}'; } | sed -E 's/"keep"/"text":"'"$(printf 'and so on %.0s' {1..40})"'","keep"/' | jrl-pack > large.jrl
memory() {
    local resident
    resident=$(bash -c 'jrl-advantage "$@" large.jrl > large-out.jrl & wait_for=$!; while [ -r /proc/$wait_for/status ]; do grep VmHWM /proc/$wait_for/status; sleep 0.05; done 2> /dev/null; wait $wait_for' _ "$@" | awk '{ if ($2 > most) most = $2 } END { print most + 0 }')
    echo "$resident KiB"
    [ "$resident" -gt 1000 ] && [ "$resident" -le 65536 ] && [ "$(jrl-view --fields advantage large-out.jrl | wc -l)" = 65536 ]
}
ok '65,536 rollouts whitened within 64 MiB' memory "${whiten[@]}"
ok '65,536 rollouts permuted within 64 MiB' memory --permute 1
done_testing
