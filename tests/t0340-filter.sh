#!/usr/bin/env bash
# jrl-filter: lists of uids, conditions on groups, batches, bad lists and bad fields.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"
same_text() { [ "$1" = "$2" ] || { printf 'got  %s\nwant %s\n' "$1" "$2"; return 1; }; }
uids() { jrl-view --fields uid | uniq | grep -o '[0-9]*' | xargs; } # of standard input

group() { # UID REWARD...: a rollout each, right when the reward is positive
    local uid=$1 sample=0 reward
    shift
    for reward; do
        echo "{\"uid\":$uid,\"sample\":$sample,\"samples\":$#,\"reward\":$reward,\"correct\":$([[ $reward == -* ]] && echo false || echo true)}"
        sample=$((sample + 1))
    done
}
large=18446744073709551615
{ group 1 1 1 1 1; group 2 -1 -1 -1 -1; group 3 1 -1 -1 -1; group $large 1 1 -1 1; group 5 0.5; } | jrl-pack > groups.jrl

# ---- conditions ----
keeps() { # CONDITION UIDS [OPTIONS...]
    local condition=$1 want=$2
    shift 2
    same_text "$(jrl-filter -q --keep "$condition" "$@" groups.jrl | uids)" "$want"
}
ok 'neither always nor never right' keeps 'mean > 0 and mean < 1' "3 $large"
ok 'a spread' keeps 'std > 0' "3 $large"
ok 'a band, its ends included' keeps 'mean >= 0.25 and mean <= 0.5' '3'
ok 'another field' keeps 'mean == 0.5' "$large 5" --of reward
ok 'the smallest' keeps 'min > 0' '1 5' --of reward
ok 'the largest' keeps 'max < 0' '2' --of reward
ok 'the number of members' keeps 'n != 4' '5'
ok 'n - 1 in the deviation' keeps 'std > 0.9999 and std < 1.0001' "3 $large" --of reward
printf '{"uid":1,"sample":%d,"samples":3,"x":0.1}\n' 0 1 2 | jrl-pack > equal.jrl
ok 'equal members have no spread' same_text "$(jrl-filter -q --of x --keep 'std > 0' equal.jrl | uids)" ''
ok 'or' keeps 'mean == 0 or n == 1' '2 5'
ok 'groups stay whole and as they are' cmp <(jrl-view groups.jrl | grep -E '"uid":(3|'$large')') <(jrl-filter -q --keep 'std > 0' groups.jrl | jrl-view)
jrl-filter --keep 'std > 0' --list list.txt -o kept.jrl groups.jrl 2> said
ok 'a list of uid and mean' same_text "$(tr '\t\n' ' |' < list.txt)" "3 0.25|$large 0.75|"
ok 'counts are said' grep -q '2 of 5 groups kept' said

# ---- lists ----
ok 'only those of a list' same_text "$(jrl-filter --only list.txt groups.jrl | uids)" "3 $large"
ok 'all but those' same_text "$(jrl-filter --except list.txt groups.jrl | uids)" '1 2 5'
printf '# mine\n\n  1 easy\n%s\t0.75\r\n' "$large" > mine.txt
ok 'a list written by hand' same_text "$(jrl-filter --only mine.txt groups.jrl | uids)" "1 $large"
ok 'both lists' same_text "$(jrl-filter --only mine.txt --except list.txt groups.jrl | uids)" 1
ok 'a list, then a condition' same_text "$(jrl-filter -q --only mine.txt --keep 'mean < 1' groups.jrl | uids)" "$large"
printf '{"uid":%s,"problem":"p"}\n' 1 2 "$large" | jrl-pack --kind problem > problems.jrl
ok 'problems' same_text "$(jrl-filter --only mine.txt problems.jrl | uids)" "1 $large"
ok 'which stay problems' same_text "$(jrl-filter --only mine.txt problems.jrl | jrl-view --header | jq -r 'select(.jrl == "header").kind')" problem
echo 77 > strange.txt
ok 'a uid that is not there is said' sh -c 'jrl-filter --only strange.txt problems.jrl 2>&1 > none.jrl | grep -q "warning: 1 uids of .strange.txt. were not in the input"'
ok 'an empty list keeps nothing, which is said' sh -c ': > empty.txt && jrl-filter --only empty.txt problems.jrl 2>&1 > none.jrl | grep -q "warning: .empty.txt. lists no uid: nothing was kept"'
ok '... and done' same_text "$(: > empty.txt && jrl-filter -q --only empty.txt problems.jrl | uids)" ''

# ---- batches ----
for i in 0 1 2 3; do echo "{\"uid\":$i,\"problem\":\"$i\",\"answer\":\"a\"}"; done | jrl-pack --kind problem | jrl-batch --batch-size 2 --steps 2 > batches.jrl
jrl-view --header batches.jrl | jq -c 'if .jrl then . else .sample = (0, 1) | .samples = 2 | .correct = (.uid == 1 or .sample == 0 and .uid < 3) end' | jrl-pack > rollouts.jrl
ok 'boundaries stay in their places' same_text "$(jrl-filter -q --keep 'std > 0' rollouts.jrl | jrl-view --header | jq -c 'select(.jrl == "batch") | .k' | xargs)" '1 2'
ok 'with what is left of the batch' jrl-check <(jrl-filter -q --keep 'std > 0' rollouts.jrl)
ok 'two groups of four' same_text "$(jrl-filter -q --keep 'std > 0' rollouts.jrl | jrl-view | wc -l)" 4

# ---- what is refused ----
ok 'nothing to keep by' fails_with 2 'nothing to keep by' jrl-filter groups.jrl
ok 'a condition that is none' fails_with 2 'expected' jrl-filter --keep 'mean >' groups.jrl
ok 'a name that is not known' fails_with 2 "'maen' is none of mean, std, min, max, n" jrl-filter --keep 'mean > 0 or maen < 1' groups.jrl
ok 'a field without a condition' fails_with 2 "'--of' has no effect without '--keep'" jrl-filter --of reward --only list.txt groups.jrl
ok 'a list to write without a condition' fails_with 2 "'--list' has no effect" jrl-filter --list x --only list.txt groups.jrl
ok 'a list that is not there' fails_with 3 "cannot open 'none.txt'" jrl-filter --only none.txt groups.jrl
echo 'uid mean' > words.txt
ok 'a line without a uid' fails_with 3 "'words.txt': line 1 begins with no uid" jrl-filter --only words.txt groups.jrl
echo 18446744073709551616 > words.txt
ok 'a number beyond 64 bits' fails_with 3 "line 1 begins with no uid" jrl-filter --only words.txt groups.jrl
printf '1\n2\n1\n' > twice.txt
ok 'a uid that comes twice' fails_with 3 "'twice.txt': line 3: uid 1 comes twice" jrl-filter --only twice.txt groups.jrl
ok 'a field that is missing' fails_with 3 "group of uid 1: field 'length' is missing" jrl-filter --keep 'mean > 0' --of length groups.jrl
ok 'a field that is no number' fails_with 3 "field 'x' is a string, not a number or boolean" jrl-filter --keep 'mean > 0' --of x <(echo '{"uid":1,"sample":0,"samples":1,"x":"y"}' | jrl-pack)
ok 'a group that is not whole' fails_with 3 'uid 1' jrl-filter --keep 'mean > 0' <(group 1 1 1 | head -n 1 | jrl-pack)
ok 'problems have no groups' fails_with 3 "field 'sample' is missing; rollouts are expected" jrl-filter --keep 'mean > 0' problems.jrl
ok 'records without a uid' fails_with 3 "field 'uid' is missing" jrl-filter --only list.txt <(echo '{"problem":"p"}' | jrl-pack --kind problem)
ok 'no list is left by a failure' sh -c '! jrl-filter -q --keep "mean > 0" --of length --list left.txt -o left.jrl groups.jrl && test ! -e left.txt -a ! -e left.jrl'
done_testing
