#!/usr/bin/env bash
# jrl-view, jrl-pack, jrl-stat, jrl-check, jrl: choosing records and fields, JSON that is wrong, summaries.
# shellcheck disable=SC2016 # texts for eval
# shellcheck source=tests/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"

prints() { # WANTED COMMAND...: the command prints exactly this
    local want=$1
    shift
    "$@" > printed || return 1
    diff <(printf '%s' "$want") printed
}
cat > rollouts.jsonl <<'END'
{"uid":18446744073709551615,"draw":0,"sample":0,"text":"a","reward":1.0,"correct":true,"finish":"stop","pred":"34","tokens":{"$u32":[1,2,3]}}
{"uid":18446744073709551615,"draw":0,"sample":1,"text":"b","reward":-1.0,"correct":false,"finish":"length","pred":null,"tokens":{"$u32":[1,2,3,4,5]}}
{"uid":9007199254740993,"draw":1,"sample":0,"text":"c","reward":1.0,"correct":true,"finish":"stop","pred":"7"}
{"uid":9007199254740993,"draw":1,"sample":1,"text":"d","reward":{"$num":"NaN"},"correct":true,"finish":"stop","pred":"or and"}
END
ok 'pack' jrl-pack -o r.jrl rollouts.jsonl
ok 'view gives the lines back' eval 'jrl-view r.jrl | cmp - rollouts.jsonl'
ok 'kind is recognised' eval 'jrl-view --header -n 0 r.jrl | jq -e ".kind == \"rollout\""'
ok 'the file itself by name of the tool family' eval 'jrl view r.jrl | cmp - rollouts.jsonl'

# Choosing
texts() { jrl-view --where "$1" --fields text r.jrl | jq -r .text | tr -d '\n'; }
ok 'where: number' prints ac texts 'reward > 0'
ok 'where: NaN compares with nothing' prints abc texts 'reward <= 1'
ok 'where: and binds tighter than or' prints ab texts "sample == 0 and draw == 0 or text == 'b'"
ok 'where: truth' prints acd texts 'correct'
ok 'where: false' prints b texts 'correct == false'
ok 'where: null' prints b texts 'pred == null'
ok 'where: not null' prints acd texts 'pred != nil'
ok 'where: present' prints acd texts pred
ok 'where: text that looks like a number' prints a texts 'pred == 34'
ok 'where: quoted words' prints d texts "pred == 'or and'"
ok 'where: text order' prints cd texts 'text >= c'
ok 'where: 64 bits exactly' prints cd texts 'uid == 9007199254740993'
ok 'where: not the neighbour' prints '' texts 'uid == 9007199254740992'
ok 'where: above 2^63' prints ab texts 'uid >= 18446744073709551615'
ok 'where: missing field' prints '' texts 'nothing != 1'
for bad in '' 'reward >' 'reward > 1 and' '== 1' "text == 'a" 'a b' 'pred < null' 'a == 1 or'; do
    ok "where: '$bad' is refused" fails_with 2 "where" jrl-view --where "$bad" r.jrl
done
ok 'fields in the order asked for' prints $'{"sample":0,"text":"a"}\n' jrl-view --fields sample,nothing,text -n 1 r.jrl
ok 'plain' prints $'{"tokens":[1,2,3]}\n' jrl-view --plain --fields tokens -n 1 r.jrl
ok 'one record' prints $'{"text":"c"}\n' jrl-view --record 3 --fields text r.jrl
ok 'no such record' fails_with 3 'has 4 records, not 5' jrl-view --record 5 r.jrl
ok 'record with -n has no effect' fails_with 2 'no effect' jrl-view --record 5 -n 1 r.jrl
ok '--compress has no effect on text' fails_with 2 'unknown option' jrl-view --compress none r.jrl

# JSON that is wrong: the line, what is wrong, nothing half-written
wrong() { # MESSAGE TEXT
    rm -f wrong.jrl
    printf '{"a":1}\n%b\n' "$2" > wrong.jsonl
    fails_with 3 "'wrong.jsonl': line 2: .*$1" jrl-pack -o wrong.jrl wrong.jsonl && [ ! -e wrong.jrl ]
}
ok 'pack: broken line' wrong 'column 6' '{"a":'
ok 'pack: two values' wrong 'follows the value' '{"a":1} {"b":2}'
ok 'pack: no object' wrong 'not a map but a list' '[1]'
ok 'pack: key twice' wrong "key 'a' stands twice" '{"a":1,"a":2}'
ok 'pack: key twice, inside' wrong "key 'b' stands twice" '{"a":{"b":1,"c":2,"b":3}}'
ok 'pack: not UTF-8' wrong 'column 8: not UTF-8' '{"a":"x\xff"}'
ok 'pack: encoded surrogate' wrong 'not UTF-8' '{"a":"\xed\xa0\x80"}'
ok 'pack: half a surrogate pair' wrong 'surrogate' '{"a":"\\ud800"}'
ok 'pack: control character' wrong 'control character' '{"a":"x\ty"}'
ok 'pack: unknown escape' wrong 'escape' '{"a":"\\x"}'
ok 'pack: integer too large' wrong 'above 2\^64' '{"a":18446744073709551616}'
ok 'pack: integer too small' wrong 'below -2\^63' '{"a":-9223372036854775809}'
ok 'pack: float too large' wrong 'float 64' '{"a":1e999}'
ok 'pack: NaN by name' wrong 'not a JSON value' '{"a":NaN}'
ok 'pack: leading zero' wrong 'not a number' '{"a":01}'
ok 'pack: unknown tag' wrong 'unknown tag' '{"a":{"$x":1}}'
ok 'pack: array element out of range' wrong 'integer of the array' '{"a":{"$u32":[4294967296]}}'
ok 'pack: array element of another kind' wrong 'expected a number' '{"a":{"$f32":[true]}}'
ok 'pack: base64' wrong 'not base64' '{"a":{"$bin":"A==="}}'
ok 'pack: key jrl in a data record' wrong "key 'jrl'" '{"a":1,"jrl":2}'
ok 'pack: unknown control record' wrong 'unknown control' '{"jrl":"colour"}'
ok 'pack: header of a newer major version' wrong 'version 2.0' '{"jrl":"header","format":"jrl-stream","version":[2,0],"kind":"problem","requires":[],"prog":[]}'
ok 'pack: too deep' wrong 'deeper' "{\"a\":$(printf '[%.0s' {1..70})$(printf ']%.0s' {1..70})}"
ok 'pack: blank lines and CRLF' eval 'printf "{\"a\":1}\r\n\n  \n{\"a\":2}" | jrl-pack | jrl-view | wc -l | grep -qx 2'
ok 'pack: a long line' eval 'perl -e "print q({\"t\":\"), q(x) x 30_000_000, qq(\"}\n)" > long.jsonl; jrl-pack long.jsonl | jrl-view | cmp - long.jsonl'
ok 'a record above the limit' fails_with 3 'record 1: longer than the limit of 1048576 bytes' eval 'jrl-pack long.jsonl | jrl-view --max-record-bytes 1048576'

# Lossless: view, pack, view, and the same bytes
ok 'lossless with header and boundaries' eval 'printf "{\"jrl\":\"batch\",\"k\":3}\n" | cat rollouts.jsonl - | jrl-pack -o one.jrl && jrl-view --header one.jrl | jrl-pack --no-provenance | cmp - <(jrl-cat one.jrl)'
floats() { # random bit patterns of both widths, as bytes through Python and back through view and pack
    /usr/bin/python3 - <<'END' > floats.msgpack
import random, struct, sys
sys.path.insert(0, '/dev/null')
random.seed(7)
out = b'\x86\xa3jrl\xa6header\xa6format\xaajrl-stream\xa7version\x92\x01\x00\xa4kind\xa7problem\xa8requires\x90\xa4prog\x90'
for i in range(300):
    f = struct.pack('<8I', *[random.getrandbits(32) for _ in range(8)])
    d = struct.pack('<8Q', *[random.getrandbits(64) for _ in range(8)])
    out += b'\x84\xa1f\xc7\x20\x05' + f + b'\xa1d\xc7\x40\x06' + d + b'\xa1x\xcb' + d[:8] + b'\xa1y\xca' + f[:4]
sys.stdout.buffer.write(out)
END
    # No end record: salvage writes one.
    jrl-cat --salvage -q --no-provenance --compress none floats.msgpack > floats.jrl &&
        jrl-view --header floats.jrl | jrl-pack --no-provenance --compress none | cmp - floats.jrl && [ "$(jrl-view floats.jrl | wc -l)" -eq 300 ]
}
ok 'floats of any bits' floats

# Provenance
prog() { jrl-view --header -n 0 "$1" | jq -c "$2"; }
ok 'entries have tool, argv and parents' eval 'prog r.jrl ".prog | length == 1 and (.[0] | .tool == \"jrl-pack\" and .argv == [\"jrl-pack\",\"-o\",\"r.jrl\",\"rollouts.jsonl\"] and .parents == [] and (.id | length) == 16)" | grep -qx true'
ok 'a filter adds one, whose parent is the last' eval 'jrl-batch --batch-size 2 --steps 1 <(sed "s/.draw.:.,//" rollouts.jsonl | jrl-pack --kind problem) > b.jrl; prog b.jrl ".prog | length == 2 and .[1].parents == [.[0].id] and .[1].options[\"batch-size\"] == \"2\"" | grep -qx true'
ok '--no-provenance adds none' eval 'jrl-view --header r.jrl | jrl-pack --no-provenance | jrl-view --header -n 0 | jq -e ".prog | length == 1"'
ok 'unknown header keys pass' eval 'jrl-view --header r.jrl | sed "1s/\"kind\"/\"colour\":\"blue\",\"kind\"/" | jrl-pack | jrl-verify --rule none | jrl-view --header -n 0 | jq -e ".colour == \"blue\""'

# Streaming: what was written is seen before the input ends
seen_before_end() {
    local first feeder
    rm -f in out && mkfifo in out
    { cat rollouts.jsonl; exec sleep 20; } > in &
    feeder=$!
    jrl-pack < in | jrl-cat | jrl-view --fields text > out &
    read -r -t 10 first < out
    kill "$feeder"
    wait
    [ "$first" = '{"text":"a"}' ]
}
ok 'records pass before the input ends' seen_before_end
ok 'output to a FIFO' eval 'rm -f pipe && mkfifo pipe && { jrl-cat -o pipe r.jrl & jrl-view pipe | cmp - rollouts.jsonl; }'
ok 'a file size limit leaves nothing' eval '(ulimit -f 8; exits 153 jrl-pack --compress none -o limited.jrl long.jsonl) && [ -z "$(find . -name "*limited*")" ]'
ok 'closed standard output' eval 'exits 1 jrl-cat r.jrl >&- 2> err && grep -q "standard output" err'
ok 'closed standard input' eval 'exits 1 jrl-cat <&- 2> err && grep -q "standard input" err'
ok 'JRL_ZSTD_LEVEL' fails_with 2 "'JRL_ZSTD_LEVEL': '99' is not a whole number from 1 to 19" env JRL_ZSTD_LEVEL=99 jrl-cat r.jrl
ok 'JRL_LOG' eval 'JRL_LOG=info jrl-cat r.jrl 2>&1 > /dev/null | grep -q "info: 4 records in, 4 out"'
ok 'JRL_LOG with a bad value' fails_with 2 'JRL_LOG' env JRL_LOG=loud jrl-cat r.jrl
ok 'a level changes the size, not the records' eval 'JRL_ZSTD_LEVEL=19 jrl-cat r.jrl | jrl-view | cmp - rollouts.jsonl'

# jrl-stat
jrl-stat -j r.jrl > stat.json
ok 'stat: counts' jq -e '.records == 4 and .segments == 1 and .groups == 2 and .groups_all_correct == 1 and .groups_none_correct == 0 and .truncated == 0.25' stat.json
ok 'stat: fields' jq -e '.fields | .tokens.length_mean == 4 and .tokens.records == 2 and .reward.nan == 1 and .pred.types == "nil,str" and .correct.mean == 0.75' stat.json
ok 'stat: mean leaves NaN out' jq -e '.fields.reward | .min == -1 and .max == 1 and (.mean * 3 - 1 | fabs) < 1e-12' stat.json
ok 'stat: table' eval 'jrl-stat r.jrl | grep -Eq "^correct +bool +100.0%  value +0.75 +0 +1"'
ok 'stat: a field of NaN only' eval 'echo "{\"a\":{\"\$num\":\"NaN\"}}" | jrl-pack | jrl-stat | grep -Eq "^a +f64 +100.0% +1 NaN"'
ok 'stat: batches' eval 'jrl-stat -j b.jrl | jq -e ".batches == 1 and .first_batch == 1 and .last_batch == 1"'
ok 'stat: many fields are bounded' eval 'jq -cn "range(30) as \$i | [range(100) | {key: \"k\(\$i * 100 + .)\", value: 1}] | from_entries" | jrl-pack | jrl-stat -j | jq -e "(.fields | length) == 1024 and .other_fields == 1976"'

# jrl-check and jrl
ok 'check is silent' eval '[ -z "$(jrl-check r.jrl b.jrl 2>&1)" ]'
ok 'check looks at all files' eval 'exits 3 jrl-check r.jrl rollouts.jsonl none b.jrl 2> err && [ "$(grep -c error: err)" = 2 ]'
ok 'jrl lists every tool' eval 'jrl > list && for t in "$JRL_BUILD"/bin/jrl-*; do grep -q "^  $(basename "$t") " list || exit 1; done'
ok 'jrl X runs jrl-X' eval 'jrl stat -j r.jrl | jq -c "del(.compressed_bytes)" | cmp - <(jq -c "del(.compressed_bytes)" stat.json)'
ok 'jrl X passes the status on' exits 3 jrl check rollouts.jsonl
ok 'no such tool' fails_with 2 "no tool 'jrl-nothing'" jrl nothing
ok 'no way out of the family' fails_with 2 'no tool' jrl ../../../bin/true
done_testing
