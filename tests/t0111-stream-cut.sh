#!/usr/bin/env bash
# A stream cut at every byte is refused, the last good record is named, and jrl-cat --salvage keeps what is
# whole; jrl-cat's other ways: -n, --drain, --merge.
# shellcheck disable=SC2016 # texts for eval
# shellcheck source=tests/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"

# Ten small records in three batches; frames end at the boundaries, so some cuts fall between frames.
for k in 1 2 3; do
    for i in 1 2 3; do echo "{\"uid\":$k$i,\"draw\":$((3 * k + i - 4))}"; done
    echo "{\"jrl\":\"batch\",\"k\":$k}"
done > batched.jsonl
grep -v batch batched.jsonl > plain.jsonl
jrl-pack --no-provenance -o batched.jrl batched.jsonl
jrl-pack --no-provenance -o zstd.jrl plain.jsonl
jrl-pack --no-provenance --compress none -o plain.jrl plain.jsonl

# cut_everywhere FILE STEP BATCHED: at every STEP-th offset the records kept are the first ones; never fewer than at the offset before.
cut_everywhere() {
    local size offset kept before=0 said
    size=$(wc -c < "$1")
    for ((offset = 0; offset < size; offset += $2)); do
        head -c "$offset" "$1" > cut.jrl
        exits 3 jrl-check cut.jrl 2> err || { echo "offset $offset"; return 1; }
        if grep -q 'before its first record\|is empty' err; then
            said=0
        elif grep -q 'is the last good one' err; then
            said=$(sed -E 's/.*record ([0-9]+) is the last good one.*/\1/' err)
        else
            cat err
            return 1
        fi
        if ! jrl-cat --salvage -q --force -o saved.jrl cut.jrl 2> err; then
            # Nothing to save before the header is whole.
            [ "$said" -eq 0 ] || { echo "offset $offset: record $said is good, nothing saved"; return 1; }
            continue
        fi
        jrl-check saved.jrl && jrl-view saved.jrl > saved.jsonl || return 1
        kept=$(wc -l < saved.jsonl)
        head -n "$kept" plain.jsonl | cmp - saved.jsonl || return 1
        [ "$kept" -ge "$before" ] || [ -n "$3" ] || { echo "offset $offset: $kept kept, $before before"; return 1; }
        [ "$kept" -eq "$said" ] || { [ -n "$3" ] && { [ "$kept" -eq $((said / 3 * 3)) ] || [ "$said" -lt 3 ]; }; } ||
            { echo "offset $offset: $kept kept, message says $said"; return 1; }
        before=$kept
    done
    [ "$before" -eq 9 ] || { echo "at the end $before kept"; return 1; }
}
ok 'cut at every byte: zstd' cut_everywhere zstd.jrl 1 ''
ok 'cut at every seventh byte: plain' cut_everywhere plain.jrl 7 ''
ok 'cut at every seventh byte: batches' cut_everywhere batched.jrl 7 batched

# Salvage: a whole file stays as it is; the message; provenance; what cannot be salvaged.
ok 'a whole file is kept whole' eval 'jrl-cat --salvage --no-provenance batched.jrl | cmp - batched.jrl'
head -c $(($(wc -c < batched.jrl) - 40)) batched.jrl > cut.jrl
ok 'salvage says what it kept' eval 'jrl-cat --salvage cut.jrl 2> err > saved.jrl && grep -q "kept 9 records, up to batch 3\|kept 6 records, up to batch 2" err'
ok 'salvage is in the provenance' eval 'jrl-view --header -n 0 saved.jrl | jq -e ".prog[-1].argv[1] == \"--salvage\""'
ok 'salvage of a pipe is refused' eval 'cat cut.jrl | exits 2 jrl-cat --salvage - 2> err && grep -q "reads twice" err'
ok 'foreign file' fails_with 3 'looks like' jrl-cat --salvage plain.jsonl

# A flipped bit in the middle: what stands before its frame is kept.
perl -e 'local $/; $_ = <STDIN>; $n = length; for my $i (0..2999) { print "{\"i\":$i,\"t\":\"" . ($i x 200) . "\"}\n" }' < /dev/null > big.jsonl
jrl-pack -o big.jrl big.jsonl
flip() {
    perl -e '($f, $at) = @ARGV; local $/; open F, "<", $f; $_ = <F>; substr($_, $at, 1) ^= "\x10"; print' "$1" "$2"
}
flipped_kept() {
    flip big.jrl $(($(wc -c < big.jrl) * 2 / 3)) > flipped.jrl
    exits 3 jrl-check flipped.jrl 2> err && jrl-cat --salvage -q -o kept.jrl --force flipped.jrl && jrl-check kept.jrl &&
        jrl-view kept.jrl > kept.jsonl && [ "$(wc -l < kept.jsonl)" -gt 500 ] &&
        [ "$(wc -l < kept.jsonl)" -eq "$(sed -E 's/.*record ([0-9]+) is the last good one.*/\1/' err)" ] &&
        head -n "$(wc -l < kept.jsonl)" big.jsonl | cmp - kept.jsonl
}
ok 'salvage before a flipped bit' flipped_kept

# -n and --drain
ok '-n 4 of batches keeps the boundary' eval 'jrl-cat -n 4 batched.jrl | jrl-view --header > four && [ "$(grep -c draw four)" = 4 ] && tail -n 1 four | grep -q "\"k\":2,\"records\":1"'
ok '-n 6 ends at the boundary' eval 'jrl-cat -n 6 batched.jrl | jrl-view --header | tail -n 1 | grep -q "\"k\":2,\"records\":3"'
ok '-n 2, before any boundary' eval '[ "$(jrl-cat -n 2 batched.jrl | jrl-view --header | tail -n 1)" = "$(sed -n 2p plain.jsonl)" ]'
ok '-n 0 is a stream' eval 'jrl-cat -n 0 batched.jrl | jrl-check'
ok '-n over two files' eval '[ "$(jrl-cat -n 12 batched.jrl zstd.jrl | jrl-view | wc -l)" = 12 ]'
ok '-n 1 --drain lets the program before finish' bash -c 'set -o pipefail; jrl-cat big.jrl big.jrl big.jrl | jrl-cat -n 1 --drain > one.jrl && jrl-check one.jrl'
ok '--drain finds a cut behind the records' eval 'head -c $(($(wc -c < big.jrl) / 2)) big.jrl > cut.jrl; exits 0 jrl-cat -n 1 cut.jrl > /dev/null && fails_with 3 cut jrl-cat -n 1 --drain cut.jrl'
ok 'headers stay as they are' eval 'jrl-cat -n 1 big.jrl | jrl-view --header -n 0 | cmp - <(jrl-view --header -n 0 big.jrl)'
ok 'options that exclude each other' fails_with 2 'only one of' jrl-cat --merge --salvage a b
ok '--drain alone has no effect' fails_with 2 'no effect' jrl-cat --drain a

# --merge
for s in 0 1 2; do
    jq -c "select(.jrl or .draw % 3 == $s)" batched.jsonl | jrl-pack --no-provenance -o "shard$s.jrl"
done
ok 'merged shards are the stream' eval 'jrl-cat --merge --no-provenance shard{2,0,1}.jrl | jrl-view --header | cmp - <(jrl-view --header batched.jrl)'
ok 'every shard is a parent' eval 'jrl-cat --merge <(jrl-view --header shard0.jrl | jrl-pack --kind problem) <(jrl-view --header shard1.jrl | jrl-pack) | jrl-view --header -n 0 | jq -e "(.prog | length) == 3 and (.prog[-1].parents | length) == 2"'
for s in 0 1; do # without draw: one group of each in turn
    for g in $((s + 1)) $((s + 3)) $((s + 5)); do
        for i in 0 1; do echo "{\"uid\":$g,\"sample\":$i}"; done
    done | jrl-pack --no-provenance -o "turn$s.jrl"
done
ok 'without draw, a group of each in turn' eval 'jrl-cat --merge turn{0,1}.jrl | jrl-view --plain | jq -s -e "[.[].uid] == [1,1,2,2,3,3,4,4,5,5,6,6]"'
ok 'a draw twice' fails_with 3 'draw 0 is in' jrl-cat --merge batched.jrl batched.jrl
ok 'other batches' fails_with 3 'ends after batch 2, .* goes on' jrl-cat --merge shard0.jrl <(jrl-view --header shard1.jrl | grep -v '"k":3\|"uid":3' | jrl-pack)
ok 'other kinds' fails_with 3 'different kinds' jrl-cat --merge shard0.jrl <(jrl-pack --kind rollout batched.jsonl)
ok 'two segments' fails_with 3 'more than one segment' jrl-cat --merge shard0.jrl <(cat shard1.jrl shard1.jrl)
done_testing
