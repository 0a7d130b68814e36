# every-tool.sh - what each tool of the family must do, from a table. Sourced by t0100-every-tool.sh after
# tap.sh; `every_tool NAME` runs all checks that apply. A tool without an entry in the table fails.
# shellcheck shell=bash
# shellcheck disable=SC2015,SC2016,SC2030,SC2031,SC2034,SC2329 # variables of the table are read by name; functions are called through ok

# Inputs, once: a small policy and the streams of one step made by the tools themselves.
make_inputs() {
    mkdir -p inputs && cd inputs || return 1
    for i in 0 1 2 3 4 5; do
        echo "{\"uid\":$((i + 100)),\"source\":\"sums\",\"problem\":\"$i+1\",\"prompt\":\"What is $i+1?\",\"answer\":\"$((i + 1))\"}"
    done > problems.jsonl
    jrl-pack --no-provenance -o problems.jrl problems.jsonl &&
        jrl-model make -o policy --shape dim=64,layers=1,heads=2,kv-heads=1,head-dim=32,mlp=64,positions=256,vocab=512,tied=1 &&
        jrl-batch --no-provenance --batch-size 3 --steps 2 -o batches.jrl problems.jrl &&
        jrl-batch --no-provenance --batch-size 3 --steps 1 problems.jrl |
        jrl-sample --no-provenance --policy policy --samples 2 --max-tokens 8 -o step.jrl &&
        jrl-sample --no-provenance --policy policy --samples 2 --max-tokens 8 -o rollouts.jrl batches.jrl &&
        jrl-verify --no-provenance -o verified.jrl rollouts.jrl &&
        jrl-verify --no-provenance step.jrl | jrl-advantage --no-provenance -o scored.jrl &&
        jrl-sample --no-provenance --policy policy --samples 2 --max-tokens 8 problems.jrl | jrl-verify --no-provenance -o judged.jrl &&
        printf '{question} {answer} {response}' > prompt.txt &&
        printf '{"problem": "1+1", "answer": "2"}\n{"problem": "1+2", "answer": "3"}\n' > rows.jsonl
    local rc=$?
    cd ..
    return $rc
}

# The table. class: filter (stream to stream), sink (stream to text), lines (text to stream), own (neither:
# only what every program does). input: a file of inputs/. args: options every call needs. header_only: what
# a stream without records gives, 0 unless said. normal: a filter after which two runs are the same text.
entry() {
    class='' input='' header_only=0 args=() normal=(cat)
    case $1 in
    jrl) class=own args=() ;;
    jrl-advantage) class=filter input=verified.jrl ;;
    jrl-batch) class=filter input=problems.jrl args=(--batch-size 3 --steps 2) header_only=3 ;;
    jrl-cat) class=filter input=batches.jrl ;;
    jrl-check) class=sink input=batches.jrl ;;
    jrl-eval) class=sink input=judged.jrl ;;
    jrl-filter) class=filter input=verified.jrl args=(--keep 'n > 0') ;;
    jrl-import) class=lines input=rows.jsonl ;;
    jrl-judge) class=filter input=verified.jrl args=(--policy "$inputs/policy" --prompt "$inputs/prompt.txt" --max-tokens 8) ;;
    jrl-logprob) class=filter input=rollouts.jrl args=(--policy "$inputs/policy" --as old) ;;
    jrl-model) class=own args=(info "$inputs/policy") ;;
    jrl-pack) class=lines input=problems.jsonl ;;
    jrl-sample) class=filter input=batches.jrl args=(--policy "$inputs/policy" --samples 2 --max-tokens 8) ;;
    jrl-stat) class=sink input=batches.jrl ;;
    jrl-update)
        # Writes a folder that must not exist; its metrics hold seconds.
        class=sink input=scored.jrl header_only=3 args=(--policy "$inputs/policy" --out "out.$BASHPID.$RANDOM.$RANDOM")
        normal=(jq -c 'del(.seconds, .tokens_per_second)')
        ;;
    jrl-verify) class=filter input=rollouts.jrl ;;
    jrl-view) class=sink input=batches.jrl ;;
    *) return 1 ;;
    esac
}

# Run the tool with the arguments of its entry and those given.
t() {
    entry "$tool" || return 99
    "$tool" "${args[@]}" "$@"
}

has_option() { "$tool" --help | grep -Eq -- "^ .*--$1( |\$)"; }
no_options_of_streams() { case $class in own) return 0 ;; *) return 1 ;; esac }

help_is_help() {
    "$tool" --help > help 2> err && [ ! -s err ] && grep -q "^usage: $tool" help && "$tool" -h | cmp - help
}
version_is_one_line() {
    "$tool" --version > version 2> err && [ ! -s err ] && [ "$(wc -l < version)" -eq 1 ] &&
        grep -Eq "^$tool [0-9]+\.[0-9]+\.[0-9]+ \([0-9a-z-]+\)$" version &&
        "$tool" --version -v | grep -q '^compiler: '
}
bad_option() { # its words; silence on stdout, the fault, the usage and where to look
    exits 2 "$tool" "$@" > out 2> err < /dev/null && [ ! -s out ] && head -n 1 err | grep -q "^$tool: error: " &&
        grep -q "^usage: $tool" err && grep -q "try '$tool --help'" err
}
numbers_are_parsed_whole() {
    local option
    "$tool" --help | grep -oE -- '--[a-z0-9-]+ [A-Z]+ .*\(-?[0-9.e+-]+ to ' | grep -oE -- '^--[a-z0-9-]+' > numbers
    while read -r option; do
        bad_option "$option" '' && bad_option "$option=" && bad_option "$option" 1x && bad_option "$option" 1e999 &&
            bad_option "$option" ' 1' && bad_option "$option" nan || { echo "$option"; return 1; }
    done < numbers
}
help_to_full_disk() { exits 1 "$tool" --help > /dev/full 2> /dev/null; }
foreign() { # BYTES-FILE: exit 3, one line that says what it looks like
    fails_with 3 'looks like|no header|not a jrl stream|not valid JSON|line 1|is a gzip file' t < "$1"
}
no_output_left() { # only what was there before; hidden temporary files count
    [ -z "$(find . -maxdepth 1 \( -name 'result*' -o -name '.result*' -o -name '.*.tmp' \) -print)" ] || { find . -maxdepth 1; return 1; }
}
cut_input() {
    head -c $(($(wc -c < "$inputs/$input") - 9)) "$inputs/$input" > cut.jrl
    fails_with 3 'cut|damaged' t cut.jrl
}
cut_with_output() {
    head -c $(($(wc -c < "$inputs/$input") - 9)) "$inputs/$input" > cut.jrl
    exits 3 t -o result cut.jrl > /dev/null 2>&1 && no_output_left
}
# One bit of the compressed bytes; one letter of a record, where nothing but the segment's checksum tells.
flipped_bit() {
    perl -0777 -pe 'substr($_, length($_) * 2 / 3, 1) ^= "\x10"' "$inputs/$input" > flipped.jrl
    exits 3 t -o result flipped.jrl > out 2> err && [ "$(grep -c error: err)" -eq 1 ] && grep -q "'flipped.jrl'" err && no_output_left || { cat err; return 1; }
}
changed_letter() {
    jrl-cat --compress none "$inputs/$input" | perl -0777 -pe 's/.*\Ksums/sumz/s' > flipped.jrl
    ! cmp -s flipped.jrl <(jrl-cat --compress none "$inputs/$input") && exits 3 t -o result flipped.jrl > out 2> err &&
        [ "$(grep -c error: err)" -eq 1 ] && grep -q "'flipped.jrl'.*checksum" err && no_output_left || { cat err; return 1; }
}
header_only() {
    jrl-cat -n 0 "$inputs/$input" | jrl-check && jrl-cat -n 0 "$inputs/$input" > empty.jrl && exits "$header_only" t empty.jrl > out
}
full_disk() { exits 1 t "$inputs/$input" > /dev/full 2> err && grep -q 'No space left' err; }
own_full_disk() { exits 1 t > /dev/full; }
full_disk_named() { fails_with 1 'No space left' t -o /dev/full "$inputs/$input"; }

# The reader of the output goes while the tool waits for input: the tool ends at once, by SIGPIPE.
closed_pipe() {
    local feeder status
    rm -f fifo && mkfifo fifo
    { head -c $(($(wc -c < "$inputs/$input") / 2)) "$inputs/$input"; exec sleep 20; } > fifo &
    feeder=$!
    timeout 10 "$BASH" -c '"$@" < fifo' - "$tool" "${args[@]}" 2> err | true
    status=${PIPESTATUS[0]}
    kill "$feeder"
    wait "$feeder" 2> /dev/null
    [ "$status" -eq 141 ] && [ ! -s err ] || { echo "status $status"; cat err; return 1; }
}
# SIGTERM while it waits for input: dies of it and leaves nothing.
killed() { # SIGNAL STATUS
    local feeder pid status
    rm -f fifo && mkfifo fifo
    { head -c $(($(wc -c < "$inputs/$input") / 2)) "$inputs/$input"; exec sleep 20; } > fifo &
    feeder=$!
    # A background job ignores INT in a script; a job of its own shell does not.
    "$tool" "${args[@]}" -o result < fifo > /dev/null 2> err &
    pid=$!
    for _ in {1..100}; do
        [ -z "$(find . -maxdepth 1 -name '.result*')" ] || break
        sleep 0.02
    done
    kill -"$1" "$pid"
    wait "$pid" 2> /dev/null
    status=$?
    kill "$feeder"
    wait "$feeder" 2> /dev/null
    [ "$status" -eq "$2" ] && no_output_left || { echo "status $status"; cat err; return 1; }
}
existing_output() {
    echo kept > result
    exits 2 t -o result "$inputs/$input" 2> err && [ "$(cat result)" = kept ] && grep -q -- --force err &&
        t --force -o result "$inputs/$input" > /dev/null && ! grep -q kept result && rm result && no_output_left
}
output_is_whole() { t -o result "$inputs/$input" > out && [ ! -s out ] && jrl-check result && rm result; }
terminal_refused() { # a terminal as output (and where a stream is read, as input)
    exits 2 script -qec "'$tool' ${args[*]@Q} '$inputs/$input'" /dev/null < /dev/null > out
}
terminal_input_refused() {
    exits 2 script -qec "'$tool' ${args[*]@Q} > /dev/null" /dev/null < /dev/null > out && grep -q 'is a terminal' out
}
repeatable() {
    local extra=()
    ! has_option no-provenance || [ "$tool" = jrl-cat ] || extra=(--no-provenance)
    t "${extra[@]}" "$inputs/$input" > one && t "${extra[@]}" "$inputs/$input" > two &&
        "${normal[@]}" < one > one.n && "${normal[@]}" < two > two.n && cmp one.n two.n
}
threads_change_nothing() {
    local extra=() look=("${normal[@]}")
    ! has_option no-provenance || extra=(--no-provenance)
    case $class in filter | lines) look=(jrl-view --header) ;; esac
    t "${extra[@]}" -t 1 "$inputs/$input" | "${look[@]}" > one && JRL_THREADS=4 t "${extra[@]}" "$inputs/$input" | "${look[@]}" > two &&
        [ -s one ] && cmp one two
}
threads_beyond_the_mask() {
    local core
    core=$(taskset -cp "$BASHPID" | sed 's/.*: //; s/[-,].*//')
    entry "$tool"
    exits 2 taskset -c "$core" "$tool" "${args[@]}" -t 2 < /dev/null > out 2> err && [ ! -s out ] &&
        head -n 1 err | grep -q "error: option '--threads': 2 is more than the cores this process may run on, 1"
}
compression_changes_nothing() {
    t --no-provenance --compress none "$inputs/$input" > plain && t --no-provenance --compress zstd:19 "$inputs/$input" > packed &&
        jrl-check plain packed && zstd -qdc packed | cmp - plain
}
compression_changes_nothing_cat() { # has no provenance of its own to leave out
    t --compress none "$inputs/$input" > plain && t --compress zstd:19 "$inputs/$input" > packed && zstd -qdc packed | cmp - plain
}

every_tool() {
    local tool=$1 class input header_only args normal inputs=$PWD/inputs
    if ! entry "$tool"; then
        ok "$tool has an entry in tests/every-tool.sh" false
        return
    fi
    mkdir -p "work.$tool" && cd "work.$tool" || exit 1
    ok "$tool: help" help_is_help
    ok "$tool: version" version_is_one_line
    ok "$tool: unknown option" bad_option --no-such-option
    ok "$tool: no abbreviations" bad_option --hel
    ok "$tool: numbers are parsed whole" numbers_are_parsed_whole
    ok "$tool: help to a full disk" help_to_full_disk
    if [ "$class" = own ]; then
        ok "$tool: full disk" own_full_disk
        ok "$tool: repeatable" eval 't > one && t > two && cmp one two'
        cd .. || exit 1
        return
    fi
    ok "$tool: no input from a terminal" terminal_input_refused
    ok "$tool: empty input" fails_with 3 empty t < /dev/null
    printf 'nothing of ours\n' > text
    gzip -c text > text.gz
    head -c 100 /dev/zero > zeros
    ok "$tool: text" foreign text
    ok "$tool: gzip" foreign text.gz
    ok "$tool: zeros" foreign zeros
    ok "$tool: missing file" fails_with 3 "cannot open 'none'" t none
    ok "$tool: folder" fails_with 3 "cannot read|cannot open|is a folder|a directory" t "$inputs"
    if [ "$class" != lines ]; then
        ok "$tool: cut input" cut_input
        ok "$tool: no records" header_only
    fi
    ok "$tool: repeatable" repeatable
    if has_option output; then
        ok "$tool: full disk" full_disk
        ok "$tool: full disk by name" full_disk_named
        ok "$tool: existing output" existing_output
        ok "$tool: closed pipe" closed_pipe
        ok "$tool: SIGTERM leaves nothing" killed TERM 143
        ok "$tool: SIGHUP leaves nothing" killed HUP 129
        if [ "$class" != lines ]; then
            ok "$tool: cut input leaves nothing" cut_with_output
            ok "$tool: a flipped bit" flipped_bit
            ok "$tool: a changed letter" changed_letter
        fi
    fi
    if [ "$class" != sink ]; then
        ok "$tool: output by name" output_is_whole
        ok "$tool: no records to a terminal" terminal_refused
        if [ "$tool" = jrl-cat ]; then
            ok "$tool: compression changes nothing" compression_changes_nothing_cat
        else
            ok "$tool: compression changes nothing" compression_changes_nothing
        fi
    fi
    ! has_option threads || ok "$tool: 1 and 4 threads" threads_change_nothing
    ! has_option threads || ok "$tool: more threads than the affinity mask has cores" threads_beyond_the_mask
    cd .. || exit 1
}
