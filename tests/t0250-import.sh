# jrl-import: every layout, identity, suffix, duplicates, token limit, bad input; the published data sets where they are.
# shellcheck shell=bash disable=SC2016 # dollars of the page's lines
. "$(dirname "$0")/tap.sh"

view() { jrl-import -q "$@" | jrl-view; }
# imports ROW WANT [OPTIONS...]: the row becomes exactly that record
imports() {
    local row=$1 want=$2 got
    shift 2
    got=$(printf '%s\n' "$row" | view "$@") || return 1
    [ "$got" = "$want" ] || { printf 'got  %s\nwant %s\n' "$got" "$want"; return 1; }
}
# field PATH ROW [OPTIONS...]: one field of the imported record
field() {
    local path=$1 row=$2
    shift 2
    printf '%s\n' "$row" | view "$@" | jq -c "$path"
}
is() { [ "$1" = "$2" ] || { printf 'got  %s\nwant %s\n' "$1" "$2"; return 1; }; }

# Layouts, each recognised by its fields. The identity is computed here anew.
uid=$(printf 'd\0P' | python3 -c '
import sys
def xxh64(data, seed=0):
    M = (1 << 64) - 1
    P1, P2, P3, P4, P5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
    rot = lambda x, r: ((x << r) | (x >> (64 - r))) & M
    assert len(data) < 4
    h = (seed + P5 + len(data)) & M
    for b in data:
        h = rot(h ^ (b * P5 & M), 11) * P1 & M
    h = (h ^ (h >> 33)) * P2 & M
    h = (h ^ (h >> 29)) * P3 & M
    return h ^ (h >> 32)
print(xxh64(sys.stdin.buffer.read()))')
ok 'verl' imports '{"data_source":"d","prompt":[{"content":"P","role":"user"}],"ability":"A","reward_model":{"ground_truth":"34","style":"rule"},"extra_info":{"index":0}}' \
    '{"uid":'"$uid"',"source":"d","problem":"P","prompt":"P","answer":"34","extra":{"ability":"A","reward_model":{"style":"rule"},"extra_info":{"index":0}}}'
ok 'verl with a system turn' imports '{"data_source":"d","prompt":[{"role":"system","content":"S"},{"role":"user","content":"P"}],"reward_model":{"ground_truth":[1,true]}}' \
    '{"uid":'"$uid"',"source":"d","problem":"P","prompt":"P","system":"S","answer":[1,true]}'
ok 'problem and answer' imports '{"problem":"P","answer":0.5,"level":"Level 5"}' '{"uid":'"$uid"',"source":"d","problem":"P","prompt":"P","answer":0.5,"extra":{"level":"Level 5"}}' --source d
ok 'question and answer' imports '{"question":"P","answer":false}' '{"uid":'"$uid"',"source":"d","problem":"P","prompt":"P","answer":false}' --source d
ok 'prompt and ground_truth' imports '{"prompt":"P","ground_truth":7}' '{"uid":'"$uid"',"source":"d","problem":"P","prompt":"P","answer":7}' --source d
ok 'gsm8k' imports '{"question":"P","answer":"1+1=2\n#### 1,080 \n"}' \
    '{"uid":'"$uid"',"source":"d","problem":"P","prompt":"P","answer":"1,080","extra":{"answer":"1+1=2\n#### 1,080 \n"}}' --source d
ok 'math by its solution' imports '{"problem":"P","solution":"\\boxed{1} so \\boxed{\\frac{1}{2}}."}' \
    '{"uid":'"$uid"',"source":"d","problem":"P","prompt":"P","answer":"\\frac{1}{2}","extra":{"solution":"\\boxed{1} so \\boxed{\\frac{1}{2}}."}}' --source d
ok 'math, a box without braces' is "$(field .answer '{"problem":"P","solution":"so $\\boxed 5$."}')" '"5"'
ok 'responses' imports '{"id":5,"response":"R","ground_truth":"34","verifier":"dapo"}' \
    '{"uid":5,"source":"d","answer":"34","text":"R","extra":{"verifier":"dapo"}}' --source d --format responses
ok 'responses with problem, place and end' imports '{"id":5,"problem":"P","response":"R","answer":"34","sample":1,"samples":2,"finish":"length"}' \
    '{"uid":5,"source":"d","problem":"P","prompt":"P?","answer":"34","sample":1,"samples":2,"finish":"length","text":"R"}' --source d --format responses --suffix '?'
ok 'responses: an id of text is hashed and kept' is "$(field '.uid == (.uid|floor) and .extra.id == "dapo/1"' '{"id":"dapo/1","response":"R","ground_truth":"3"}' --format responses)" true
ok 'responses: other ids, other identity' test "$(field .uid '{"id":"a","response":"R","ground_truth":"3"}' --format responses)" != \
    "$(field .uid '{"id":"b","response":"R","ground_truth":"3"}' --format responses)"
ok 'responses: rows of nothing else differ by line' is "$(printf '%s\n' '{"response":"R","answer":1}' '{"response":"R","answer":1}' | view --format responses | jq .uid | sort -u | wc -l)" 2
ok 'responses are rollouts' is "$(echo '{"response":"R","answer":1}' | jrl-import -q --format responses | jrl-view --header | jq -r 'select(.jrl == "header").kind')" rollout
ok 'problems are problems' is "$(echo '{"problem":"P","answer":1}' | jrl-import -q | jrl-view --header | jq -r 'select(.jrl == "header").kind')" problem

# Identity and source.
ok 'a uid of the row' is "$(field '[.uid, .extra]' '{"uid":18446744073709551615,"problem":"P","answer":1}' --source d | sed 's/18446744073709552000/18446744073709551615/')" '[18446744073709551615,null]'
ok 'a uid that is none is hashed over and kept' is "$(field '.extra.uid' '{"uid":"x","problem":"P","answer":1}')" '"x"'
ok 'the suffix does not change the identity' is "$(printf '%s\n' '{"problem":"P","answer":1}' | view --source d --suffix X | sed 's/,.*//')" "{\"uid\":$uid"
echo '{"problem":"P","answer":1}' > set-1.jsonl
ok 'source from the file name' is "$(view set-1.jsonl | jq -r .source)" set-1
ok 'source of standard input' is "$(view < set-1.jsonl | jq -r .source)" stdin
ok 'a source named beats data_source, which is kept' is "$(field '[.source, .extra.data_source]' '{"data_source":"x","problem":"P","answer":1}' --source d)" '["d","x"]'

# Text and suffix.
ok 'text byte for byte' is "$(field .problem '{"problem":" \u0000\u180e e\u0301 \n","answer":1}')" '" \u0000'$'\u180e e\u0301'' \n"'
ok 'suffix with line breaks and backslashes' is "$(field .prompt '{"problem":"P","answer":1}' --suffix '\n\n\boxed{} \\n')" '"P\n\n\\boxed{} \\n"'
ok 'a system turn for all' is "$(field .system '{"problem":"P","answer":1,"system":"S"}' --system 'T\nU')" '"T\nU"'
# shellcheck disable=SC2016 # DAPO's own dollar sign
dapo='Solve the following math problem step by step. The last line of your response should be of the form Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\nP\n\nRemember to put your answer on its own line after \"Answer:\".'
ok 'DAPO stripped' is "$(field '[.problem, .prompt]' "{\"problem\":\"$dapo\",\"answer\":1}" --strip-dapo --suffix S)" '["P","PS"]'
ok 'DAPO stripped before identity' is "$(field .uid "{\"problem\":\"$dapo\",\"answer\":1}" --strip-dapo --source d)" "$(field .uid '{"problem":"P","answer":1}' --source d)"
ok 'DAPO not stripped by default' is "$(field '.problem | length > 100' "{\"problem\":\"$dapo\",\"answer\":1}")" true
echo '{"problem":"P","answer":1}' | jrl-import --strip-dapo 2> log > /dev/null
ok 'nothing to strip is said' grep -q "warning: no row had DAPO's instruction" log

# Trimmed.
ok 'trimmed' is "$(field '[.problem, .prompt, .answer]' '{"problem":" \u00a0P Q\u001f\n","answer":"\t 7 \u2003"}' --trim --suffix ' S')" '["P Q","P Q S","7"]'
ok 'trimmed before identity' is "$(field .uid '{"problem":"P\n","answer":1}' --trim --source d)" "$(field .uid '{"problem":"P","answer":1}' --source d)"
ok 'trimmed, an answer cut out of a box' is "$(field .answer '{"problem":"P","solution":"\\boxed{ 1 2 }"}' --trim)" '"1 2"'
ok 'trimmed, a number stays one' is "$(field .answer '{"problem":"P","answer":7}' --trim)" 7
ok 'trimmed, nothing but white space' is "$(field .answer '{"problem":"P","answer":" \n"}' --trim)" '""'

# Duplicates and counts.
printf '%s\n' '{"problem":"P","answer":1}' '' '{"problem":"P","answer":2}' '{"problem":" P\u3000","answer":3}' > three.jsonl
jrl-import three.jsonl 2> log | jrl-view | jq -c .answer > got
ok 'equal bytes are a duplicate' is "$(tr '\n' ' ' < got)" '1 3 '
ok '... counted' is "$(cat log)" 'jrl-import: info: 3 rows, 2 records, 1 duplicates, 0 rejected'
ok 'equal but for white space' is "$(view --dedup=trim three.jsonl | jq -c .answer | tr '\n' ' ')" '1 '
ok 'no de-duplication' is "$(view --dedup none three.jsonl | jq -c .answer | tr '\n' ' ')" '1 2 3 '
ok 'several files are one set' is "$(view three.jsonl set-1.jsonl | jq -c .source | tr '\n' ' ')" '"three" "three" '
jrl-import -q three.jsonl set-1.jsonl 2> log > /dev/null
ok 'quiet is quiet' test ! -s log
ok 'the same bytes twice' cmp <(jrl-import -q three.jsonl) <(jrl-import -q three.jsonl)
ok 'the header names the file by digest' is "$(jrl-import -q three.jsonl | jrl-view --header | jq -r 'select(.jrl == "header").prog[0].data | length')" 32

# With a policy: token limit and tokens of responses.
policy=$JRL_TOP/tests/golden/tokenizer/qwen2
printf '%s\n' '{"problem":"What is 2+2?","answer":4}' '{"problem":"What is the sum of all the numbers from one to one hundred?","answer":5050}' > two.jsonl
jrl-import --policy "$policy" --max-prompt-tokens 60 two.jsonl 2> log | jrl-view | jq .answer > got
ok 'too long a prompt is left out' is "$(cat got)" 4
ok '... counted' grep -q '2 rows, 1 records, 0 duplicates, 1 too long, 0 rejected' log
ok 'the template counts' is "$(view --policy "$policy" --template none --max-prompt-tokens 60 two.jsonl | wc -l)" 2
printf '%s\n' '{"problem":"hi","response":"ok","answer":4}' '{"problem":"hi","response":"ok","answer":4,"finish":"length"}' > one.jsonl
view --format responses --policy "$policy" one.jsonl > got
ok 'responses get tokens' is "$(jq -c '[(.prompt_tokens["$u32"] | length > 20), (.tokens["$u32"] | length)]' got | tr '\n' ' ')" '[true,2] [true,1] '
ok '... the last is the end token' is "$(head -n 1 got | jq '.tokens["$u32"][-1]')" "$(jq '.added_tokens[] | select(.content == "<|im_end|>").id' "$policy/tokenizer.json")"
cp -r "$policy" odd-policy
jq '.chat_template = "{{ messages }}"' "$policy/tokenizer_config.json" > odd-policy/tokenizer_config.json
ok 'an unknown template is refused' fails_with 3 'unknown chat_template; nearest is that of .*--template' jrl-import --policy odd-policy --max-prompt-tokens 60 two.jsonl
ok '... unless one is chosen' test "$(view --policy odd-policy --template chatml --max-prompt-tokens 60 two.jsonl | wc -l)" -ge 1
ok 'a policy without a tokenizer' fails_with 3 "cannot open 'nowhere/tokenizer.json'" jrl-import --policy nowhere --max-prompt-tokens 60 two.jsonl

# Bad input: the message, exit code 3, nothing half-written.
# refuses NAME REGEX FILE [OPTIONS...]
refuses() {
    local name=$1 regex=$2
    shift 2
    ok "$name" fails_with 3 "$regex" jrl-import -o out.jrl "$@"
    ok "... leaves nothing behind: $name" test ! -e out.jrl
}
good='{"problem":"P","answer":1}'
printf '%s\n' "$good" '{"problem":"Q","answer":' > bad.jsonl
refuses 'a broken line' "'bad.jsonl': line 2: column 25: the text ends too early" bad.jsonl
printf '%s\n' "$good" '{"problem":"Q" "answer":1}' > bad.jsonl
refuses 'a missing comma' "'bad.jsonl': line 2: column 16: expected" bad.jsonl
printf '%s\n' "$good" '{"problem":"Q"}' > bad.jsonl
refuses 'a missing field' "'bad.jsonl': line 2: field 'answer' is missing" bad.jsonl
printf '%s\n' "$good" '{"problem":5,"answer":1}' > bad.jsonl
refuses 'a field of another type' "'bad.jsonl': line 2: field 'problem' is an integer, not a string" bad.jsonl
printf '%s\n' "$good" '{"problem":"Q","answer":{}}' > bad.jsonl
refuses 'an answer that is a map' "'bad.jsonl': line 2: field 'answer' is a map, not a string, number, boolean or list" bad.jsonl
printf '%s\n' "$good" '{"problem":"Q","answer":null}' > bad.jsonl
refuses 'an answer that is null' "'bad.jsonl': line 2: field 'answer' is missing" bad.jsonl
printf '{"problem":"P\xff","answer":1}\n' > bad.jsonl
refuses 'invalid UTF-8' "'bad.jsonl': line 1: column 14: .*UTF-8" bad.jsonl
printf '%s\n' '{"problem":"P","answer":1,"problem":"Q"}' > bad.jsonl
refuses 'a repeated key' "'bad.jsonl': line 1: column [0-9]+: key 'problem' stands twice" bad.jsonl
printf '%s\n' '{"problem":"P","answer":1,"x":{"y":1,"y":2}}' > bad.jsonl
refuses 'a repeated key inside' "'bad.jsonl': line 1: column [0-9]+: key 'y' stands twice" bad.jsonl
printf '%s\n' "$good" '17' > bad.jsonl
refuses 'a row that is no object' "'bad.jsonl': line 2: the row is an integer, not an object" bad.jsonl
printf '%s\n' '{"a":1,"b":2}' > bad.jsonl
refuses 'an unknown layout' "'bad.jsonl': line 1: the fields \('a', 'b'\) are of no known layout; choose one with --format verl" bad.jsonl
printf '%s\n' '{"response":"R","ground_truth":1}' > bad.jsonl
refuses 'responses are not guessed' "'bad.jsonl': line 1: the row holds a response: import rollouts with --format responses" bad.jsonl
printf '%s\n' '{"question":"Q","answer":"7"}' > bad.jsonl
refuses 'gsm8k without a mark' "'bad.jsonl': line 1: field 'answer' has no '####'" --format gsm8k bad.jsonl
printf '%s\n' '{"problem":"Q","solution":"\\boxed{1"}' > bad.jsonl
refuses 'math without a box' "'bad.jsonl': line 1: field 'solution' has no whole" --format math bad.jsonl
printf '%s\n' '{"prompt":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"reward_model":{"ground_truth":1}}' > bad.jsonl
refuses 'a talk of several turns' "'bad.jsonl': line 1: field 'prompt': turn 1 is by 'user'; one user turn" bad.jsonl
printf '%s\n' '{"prompt":[{"role":"user"}],"reward_model":{"ground_truth":1}}' > bad.jsonl
refuses 'a turn without content' "'bad.jsonl': line 1: field 'prompt': turn 1 has no 'role' and 'content'" bad.jsonl
printf '%s\n' '{"prompt":[{"role":"user","content":"a"}],"reward_model":{"style":"rule"}}' > bad.jsonl
refuses 'verl without a ground truth' "'bad.jsonl': line 1: field 'reward_model.ground_truth' is missing" bad.jsonl
printf '[%s]\n' "$good" > bad.jsonl
refuses 'one JSON array' "'bad.jsonl' is one JSON array; jq -c '.\[\]' makes JSON lines of it" bad.jsonl
printf 'PAR1\25\4\25\n' > bad.jsonl
refuses 'a Parquet file' "'bad.jsonl' is a Parquet file; convert it to JSON lines first, as jrl-import\(1\) shows" bad.jsonl
gzip -c set-1.jsonl > bad.jsonl
refuses 'a gzip file' "'bad.jsonl' is a gzip file" bad.jsonl
jrl-import -q set-1.jsonl > bad.jsonl
refuses 'a stream' "'bad.jsonl' is compressed by zstd; a jrl stream needs no import" bad.jsonl
: > bad.jsonl
refuses 'an empty file' "'bad.jsonl' is empty" bad.jsonl
refuses 'a file that is not there' "cannot open 'nowhere.jsonl'" set-1.jsonl nowhere.jsonl
head -c 100000000 /dev/zero | tr '\0' ' ' > bad.jsonl
refuses 'a line of 100 MB' "'bad.jsonl': line 1 is longer than 33554432 bytes" bad.jsonl
case $JRL_BUILD in
*asan) skip '... in bounded memory' 'the sanitizers map terabytes' ;;
*) ok '... in bounded memory' bash -c 'ulimit -v 300000; jrl-import bad.jsonl 2> log > /dev/null; [ $? -eq 3 ]' ;;
esac
rm -f bad.jsonl
ok 'a full disk' fails_with 1 'No space left' jrl-import -o /dev/full set-1.jsonl

# Rows that may be left out.
printf '%s\n' "$good" 'x' '{"problem":"Q"}' '{"problem":"R","answer":1}' > some.jsonl
jrl-import --max-rejected 2 some.jsonl 2> log | jrl-view | jq -r .problem > got
ok 'rejected rows are left out' is "$(tr '\n' ' ' < got)" 'P R '
ok '... counted by reason' grep -q '4 rows, 2 records, 0 duplicates, 2 rejected (not a JSON object: 1, missing or unusable field: 1)' log
ok '... and named' grep -q "warning: 'some.jsonl': line 3: field 'answer' is missing" log
ok 'one too many' fails_with 4 "line 3: .*2 rejected, the limit is --max-rejected 1" jrl-import -q --max-rejected 1 -o out.jrl some.jsonl
ok '... leaves nothing behind' test ! -e out.jrl

# Command lines that cannot mean what they say.
ok 'a limit without a policy' fails_with 2 "'--max-prompt-tokens' needs '--policy'" jrl-import --max-prompt-tokens 5 set-1.jsonl
ok 'a policy without use' fails_with 2 "'--policy' has no effect" jrl-import --policy "$policy" set-1.jsonl
ok 'a template without a policy' fails_with 2 "'--template' has no effect" jrl-import --template chatml set-1.jsonl
ok 'responses are not de-duplicated' fails_with 2 "does not go with '--format=responses'" jrl-import --format responses --dedup trim one.jsonl

# The page's two lines for Parquet, where a Python with pyarrow is (JRL_PYTHON) and, beside it, DuckDB's program.
python=${JRL_PYTHON:-python3}
duckdb=$(dirname "$(command -v "$python")")/duckdb
example() { sed -n '/^\.Ss Parquet/,/^\.Ed/p' "$JRL_TOP/man/jrl-import.1" | sed -n "/^$1/,\$p" | sed '/data.jsonl/q'; }
example "python3 -c 'import json" | sed 's|^python3|"$PYTHON"|' > pyarrow.sh
example 'duckdb -c' | sed 's|^duckdb|"$DUCKDB"|' > duckdb.sh
ok 'the page shows a line for pyarrow' grep -q 'pyarrow.*as parquet' pyarrow.sh
ok 'the page shows a line for DuckDB' grep -q '^"$DUCKDB" -c "COPY (FROM .data.parquet.) TO .data.jsonl. (FORMAT json)"$' duckdb.sh
# converted WAY: data.parquet becomes data.jsonl by the page's line
converted() {
    rm -f data.jsonl
    PYTHON=$python DUCKDB=$duckdb bash -eu "$1.sh" > way.log 2>&1 || { cat way.log; return 1; }
    [ -s data.jsonl ]
}
# The rows of an import, as verl and DAPO have them: nested lists and maps, text of every kind, a whole number.
printf '%s\n' '{"data_source":"d","prompt":[{"content":"Caf\u00e9 \\(x\\) \"q\"\n\t\u4e2d \ud83d\ude00","role":"user"}],"ability":"A","reward_model":{"ground_truth":"34","style":"rule"},"extra_info":{"index":9007199254740993,"flag":true,"half":0.5}}' \
    '{"data_source":"d","prompt":[{"content":"Q","role":"user"}],"ability":"B","reward_model":{"ground_truth":"\\frac{1}{2}","style":"rule"},"extra_info":{"index":-1,"flag":false,"half":1e-7}}' > verl.jsonl
for way in pyarrow duckdb; do
    if ! "$python" -c 'import pyarrow' 2> /dev/null || { [ "$way" = duckdb ] && [ ! -x "$duckdb" ]; }; then
        skip "Parquet by way of $way" 'no pyarrow, or no DuckDB beside it: make reference; JRL_PYTHON names another Python'
        continue
    fi
    "$python" -c 'import json, pyarrow as pa, pyarrow.parquet as p; p.write_table(pa.Table.from_pylist([json.loads(l) for l in open("verl.jsonl")]), "data.parquet")'
    ok "Parquet by way of $way" converted "$way"
    ok '... gives the same records' cmp <(view --source s data.jsonl) <(view --source s verl.jsonl)
    if [ ! -d "$SHARED/data/parquet" ]; then
        skip "the published files by way of $way" 'no ../shared/data/parquet'
        continue
    fi
    for name in aime24 math500; do
        cp -f "$SHARED/data/parquet/$name.parquet" data.parquet
        ok "Parquet by way of $way: $name" converted "$way"
        ok '... gives the records of its JSON lines' cmp <(view --source s data.jsonl) <(view --source s "$SHARED/data/benchmarks/$name.jsonl")
    done
done

# The published data sets.
# counts FILE RECORDS [OPTIONS...]
counts() {
    local file=$1 records=$2
    shift 2
    is "$(view "$@" "$SHARED/data/$file.jsonl" | wc -l)" "$records"
}
if [ -d "$SHARED/data/train" ]; then
    while read -r file records; do
        ok "$file: $records" counts "$file" "$records"
    done << 'END'
train/math-train 7500
train/math-test 5000
train/gsm8k-train 7473
train/gsm8k-test 1319
benchmarks/aime24 30
benchmarks/aime25 30
benchmarks/amc23 40
benchmarks/brumo25 30
benchmarks/cmimc25 40
benchmarks/hmmt25 30
benchmarks/math500 500
benchmarks/minerva 272
benchmarks/olympiadbench 674
END
    dapo=$SHARED/data/train/dapo-math-17k.jsonl
    jrl-import --strip-dapo "$dapo" 2> log > dapo.jrl
    ok 'DAPO: 17398' is "$(cat log)" 'jrl-import: info: 17398 rows, 17398 records, 0 duplicates, 17398 stripped, 0 rejected'
    ok 'DAPO, trimmed: 17255' counts train/dapo-math-17k 17255 --strip-dapo --dedup=trim
    ok 'DAPO: every problem and answer as in the file' cmp <(jrl-view dapo.jrl | jq -c '[.problem, .answer]') \
        <(jq -c '[(.prompt[0].content | ltrimstr("Solve the following math problem step by step. The last line of your response should be of the form Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n") | rtrimstr("\n\nRemember to put your answer on its own line after \"Answer:\".")), .reward_model.ground_truth]' "$dapo")
    ok 'DAPO: no identity twice' is "$(jrl-view --fields uid dapo.jrl | sort -u | wc -l)" 17398
    ok 'GSM8K: answers have no mark' is "$(view "$SHARED/data/train/gsm8k-train.jsonl" | jq -r .answer | grep -c '[^-0-9.,]')" 0
else
    skip 'the published data sets' 'no ../shared/data'
fi
done_testing
