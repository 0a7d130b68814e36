# jrl-batch: the order of draws, resuming, shards, batches that straddle epochs, and what it refuses.
# shellcheck shell=bash
. "$(dirname "$0")/tap.sh"

problems() { # COUNT [FIRST]
    local i
    for ((i = ${2:-0}; i < ${2:-0} + $1; i++)); do
        echo "{\"uid\":$((100 + i)),\"source\":\"s\",\"problem\":\"p$i\",\"prompt\":\"p$i\",\"answer\":\"$i\"}"
    done
}
problems 10 | jrl-pack -o data.jrl
batch() { jrl-batch --no-provenance "$@" data.jrl; }
records() { jrl-view --header | grep -v '"jrl":"\(header\|end\)"'; }

batch --batch-size 4 --steps 6 | records > six.jsonl
ok 'six batches of four' test "$(grep -vc jrl six.jsonl)" = 24
ok 'boundaries after each, numbered from 1' test "$(grep jrl six.jsonl | jq -c '[.k, .records]' | tr -d '\n')" = '[1,4][2,4][3,4][4,4][5,4][6,4]'
ok 'draws count up from 0' test "$(grep -v jrl six.jsonl | jq .draw | tr '\n' ' ')" = "$(seq 0 23 | tr '\n' ' ')"
ok 'the step stands in every problem' jq -e -s 'map(select(.jrl | not)) | length > 0 and all(.step == (.draw / 4 | floor) + 1)' six.jsonl
ok 'every epoch holds each problem once' jq -e -s 'map(select(.jrl | not).uid) | ([.[0:10], .[10:20]] | map(sort | tostring) | unique) == [[range(100; 110)] | tostring]' six.jsonl
ok 'epochs differ' jq -e -s 'map(select(.jrl | not).uid) | (.[0:10] | tostring) != (.[10:20] | tostring)' six.jsonl
ok 'problems keep their fields' jq -e -s 'map(select(.jrl | not)) | length > 0 and all(.answer == (.uid - 100 | tostring) and .problem == "p" + .answer)' six.jsonl
# The order of seed 0 must never change: runs are resumed by later versions.
ok 'the order of seed 0 is what it always was' test "$(grep -v jrl six.jsonl | head -n 12 | jq .answer -r | tr '\n' ' ')" = '5 2 0 8 7 3 1 4 6 9 4 0 '

# resumed K STEPS: the same batches as in an unbroken sequence
resumed() { cmp <(batch --batch-size 4 --step "$1" --steps "$2" | records) <(jq -c --argjson k "$1" --argjson n "$2" 'select((.step // .k) as $s | $s >= $k and $s < $k + $n)' six.jsonl); }
ok 'resumes at 1' resumed 1 6
ok 'resumes at 3, whose batch straddles epochs' resumed 3 2
ok 'resumes at 6' resumed 6 1
ok 'resumes at step 900000000 at once' timeout 5 jrl-batch --step 900000000 --steps 1 -o far.jrl data.jrl

batch --batch-size 4 --steps 2 --seed 1 | records > other.jsonl
ok 'another seed, another order' bash -c '! cmp -s <(head -n 10 six.jsonl) other.jsonl'
batch --batch-size 7 --steps 3 --no-shuffle | jrl-view --fields uid | jq .uid | tr '\n' ' ' > plain
ok 'without a shuffle: the order of the data set' test "$(cat plain)" = "$(printf '%s ' {100..109} {100..109} 100)"
ok 'a batch larger than the data set' test "$(batch --batch-size 25 --steps 1 | jrl-view --fields draw | wc -l)" = 25

# shards N: the parts of each batch, put together, are the batch
shards() {
    local i n=$1
    for ((i = 0; i < n; i++)); do batch --batch-size 4 --steps 6 --shard "$i/$n" | jrl-view; done > parts.jsonl
    cmp <(jq -s -c 'sort_by(.draw)[]' parts.jsonl) <(grep -v '"jrl"' six.jsonl)
}
ok 'shards of 2' shards 2
ok 'shards of 3' shards 3
ok 'shards of 4' shards 4
merged() {
    local i n=$1 files=()
    for ((i = 0; i < n; i++)); do
        batch --batch-size 4 --steps 6 --shard "$i/$n" --force -o "part$i.jrl"
        files=("part$i.jrl" "${files[@]}")
    done
    jrl-cat --merge "${files[@]}" | records | cmp - six.jsonl
}
ok 'jrl-cat --merge restores the batches from 3 parts' merged 3
ok '... from 6 parts, of which some are empty' merged 6
ok 'a shard counts its own records' test "$(batch --batch-size 4 --steps 1 --shard 2/3 | jrl-view --header | grep '"batch"' | jq -c '[.k, .records]')" = '[1,2]'
ok 'shards from srun' cmp <(SLURM_PROCID=1 SLURM_NTASKS=2 batch --steps 1 --shard slurm | records) <(batch --steps 1 --shard 1/2 | records)
ok 'slurm without srun' fails_with 2 'SLURM_PROCID is not set' env -u SLURM_PROCID jrl-batch --shard slurm data.jrl
ok 'a shard that does not exist' fails_with 2 'part 2 of 2 does not exist' jrl-batch --shard 2/2 data.jrl
ok 'a shard that is no shard' fails_with 2 "shard '1' is neither" jrl-batch --shard 1 data.jrl

problems 5 | jrl-pack --no-provenance -o first.jrl
problems 5 5 | jrl-pack --no-provenance -o second.jrl
cat first.jrl second.jrl > joined.jrl
ok 'a data set of two segments is one data set' cmp <(jrl-batch --batch-size 4 --steps 6 joined.jrl | jrl-view) <(grep -v '"jrl"' six.jsonl)
ok '... and one segment of batches' test "$(jrl-batch --steps 1 joined.jrl | jrl-view --header | grep -c '"header"')" = 1

endless() { jrl-batch data.jrl | head -c 100000 > /dev/null; [ "${PIPESTATUS[0]}" = 141 ]; }
ok 'endless, until the reader has enough' endless
ok 'no problems' fails_with 3 'the data set is empty' jrl-batch <(jrl-view --header first.jrl | grep header | jrl-pack)
ok 'batches of batches' fails_with 3 "record 1: field 'draw'.*batch already" jrl-batch <(batch --steps 1)
ok 'members of groups' fails_with 3 "record 1: field 'samples' is not 1" jrl-batch <(echo '{"uid":1,"sample":0,"samples":8,"text":""}' | jrl-pack)
ok 'rollouts of their own can be drawn' test "$(echo '{"uid":1,"sample":0,"samples":1,"text":""}' | jrl-pack | jrl-batch --steps 1 --batch-size 2 | jrl-view --fields draw | wc -l)" = 2
ok 'problems and rollouts mixed' fails_with 3 'mixes records of kind' jrl-batch <(cat first.jrl <(echo '{"uid":1,"sample":0,"samples":1,"text":""}' | jrl-pack))
ok 'a seed without effect' fails_with 2 'seed has no effect' jrl-batch --seed 1 --no-shuffle data.jrl
head -c 200 data.jrl > cut.jrl
ok 'a cut data set' exits 3 jrl-batch --steps 1 -o out.jrl cut.jrl
ok '... leaves nothing behind' test ! -e out.jrl
done_testing
