#!/usr/bin/env bash
# Streams made by another writer (tests/golden/make_stream.py): the good ones are read as they are meant, the
# bad ones refused with the reason; and another reader reads what we write.
# shellcheck disable=SC2016 # texts for eval
# shellcheck source=tests/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"
golden=$JRL_TOP/tests/golden/stream

reads() { jrl-check "$1.jrl" && jrl-view --header "$1.jrl" | cmp - "$1.jsonl"; }
back() { # view, pack: the same records, byte for byte in their JSON form and in ours
    jrl-view --header "$1.jrl" | jrl-pack --no-provenance -o packed.jrl --force && jrl-check packed.jrl &&
        jrl-view --header packed.jrl | cmp - "$1.jsonl"
}
for file in "$golden"/good/*.jrl; do
    name=$(basename "$file" .jrl)
    ok "good: $name" reads "${file%.jrl}"
    ok "good: $name, to JSON and back" back "${file%.jrl}"
done

refuses() { fails_with 3 "$2" jrl-check "$1" && fails_with 3 "$2" jrl-cat "$1" && fails_with 3 . jrl-check - < "$1"; }
while IFS=$'\t' read -r name message; do
    ok "bad: $name" refuses "$golden/bad/$name.jrl" "$message"
done < "$golden/bad/messages"
ok 'every bad file has a message' eval 'for f in "$golden"/bad/*.jrl; do grep -q "^$(basename "$f" .jrl)	" "$golden/bad/messages" || exit 1; done'

# Joining: cat of files is a stream; so is jrl-cat's, with the same uncompressed bytes.
ok 'cat a b is a stream' eval 'cat "$golden"/good/{values,batched,minimal,joined}.jrl > joined.jrl && jrl-check joined.jrl'
ok 'jrl-cat a b has the same records' eval 'jrl-cat "$golden"/good/{values,batched,minimal,joined}.jrl | jrl-view --header | cmp - <(jrl-view --header joined.jrl)'

# The stream that jrl-stream(5) spells out in hex.
ok 'the example of jrl-stream(5) is a stream' eval 'sed -n "/^86  /,/^\.Ed/p" "$JRL_TOP/man/jrl-stream.5" | grep -oE "^([0-9a-f]{2} )+" | perl -ne "print pack q(H*), s/\s//gr" > example.jrl && cmp example.jrl "$golden/good/minimal.jrl"'

if ! /usr/bin/python3 -c 'import msgpack' 2> /dev/null; then
    skip "Python's msgpack reads the same records" 'python3-msgpack is not installed'
else
    cat > read.py <<'END'
import math, struct, sys
sys.path.insert(0, sys.argv[1])
import msgpack, make_stream

def form(x):
    """Something that compares equal only for the same value of the same type, NaN bits included."""
    if isinstance(x, dict):
        return ('map', [(form(k), form(v)) for k, v in x.items()])
    if isinstance(x, list):
        return ('list', [form(v) for v in x])
    if isinstance(x, float):
        return ('float', struct.pack('>d', x))
    return (type(x).__name__, x)

def unpack(data):
    return list(msgpack.Unpacker(data, ext_hook=lambda t, d: ('ext', t, d),
                                 unicode_errors='surrogateescape', max_buffer_size=2**28))

want = [r for r in unpack(open(sys.argv[2], 'rb')) if next(iter(r)) != 'jrl']
got = [r for r in unpack(sys.stdin.buffer) if next(iter(r)) != 'jrl']
assert len(want) == 7 and [form(r) for r in got] == [form(r) for r in want], (got, want)
END
    reads_back() { jrl-view "$golden/good/values-plain.jrl" | jrl-pack | zstd -qdc | /usr/bin/python3 read.py "$JRL_TOP/tests/golden" "$golden/good/values-plain.jrl"; }
    ok "zstd -dc and Python's msgpack read the same records" reads_back
    ok 'and what jrl-cat writes' eval 'jrl-cat "$golden/good/values.jrl" | zstd -qdc | /usr/bin/python3 read.py "$JRL_TOP/tests/golden" "$golden/good/values-plain.jrl"'
fi
done_testing
