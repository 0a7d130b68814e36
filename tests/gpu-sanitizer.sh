#!/usr/bin/env bash
# The kernel table on a GPU under compute-sanitizer: memcheck and synccheck of all of it, then racecheck case by case, for it is slow: first where kernels of
# our own share memory (bulk copies and wgmma, products of few rows, attention). A line a run; what fails keeps nothing from running.
# Usage: gpu-sanitizer.sh TABLE [SECONDS [SECONDS-OF-A-CASE]]: for all of it (600) and for a case at most (120).
# Findings inside cuBLASLt's own kernels are told, and are no failures. Without nvcc or compute-sanitizer: says so, exit 0.
set -u
table=$1 total=${2:-600} most=${3:-120}
skipped() { echo "gpu-sanitizer: skipped: $1" && exit 0; }
[ -x "$table" ] || skipped 'there is no nvcc'
PATH=$PATH:/usr/local/cuda/bin
command -v compute-sanitizer > /dev/null || skipped 'there is no compute-sanitizer'
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
passed=0 failed=0 missed=0
own=$("$table" --kernels | tr '\n' ' ')
library='nvjet|cublas|cutlass|xmma|splitK'

# Findings of $log: a line for what is ours or nobody's, each with its kernel, and one line `library NAMES` for those of the library.
# A finding begins with one blank behind the ======, goes on with more, and the host's own stack names our kernels for any.
findings() {
    awk -v own="$own" -v library="$library" '
        function close_one(    i, n, names) {
            if (head == "") return
            n = split(own, names, " ")
            for (i = 1; i <= n && text !~ "(^|[^A-Za-z0-9_])" names[i] "([^A-Za-z0-9_]|$)"; i++);
            if (i <= n || text !~ library) print head
            else if (match(text, "[A-Za-z0-9_]*(" library ")[A-Za-z0-9_]*")) known[substr(text, RSTART, RLENGTH)]++
            head = text = ""
        }
        /^=========/ { $0 = substr($0, 10) }
        /^ ?$/ || /^ (COMPUTE-SANITIZER|[A-Z ]*SUMMARY|Target application returned an error)/ { close_one(); next }
        /^ [^ ]/ { close_one(); head = text = substr($0, 2); next }
        head != "" && !/Host Frame|host backtrace/ { text = text " " $0; if (head !~ / at / && / at /) head = head $0 }
        END {
            close_one()
            for (name in known) all = all " " name " (" known[name] ")"
            if (all != "") print "library" all
        }' <(grep '^=========' "$log")
}

# run TOOL SECONDS NAME ARGUMENT...: the table under TOOL
run() {
    local tool=$1 limit=$2 name=$3 status found known left=$((total - SECONDS)) start=$SECONDS said
    shift 3
    if [ "$left" -lt 5 ]; then
        missed=$((missed + 1))
        return
    fi
    [ "$limit" -le "$left" ] || limit=$left
    timeout -k 5 "$limit" compute-sanitizer --tool "$tool" "$table" "$@" > "$log" 2>&1
    status=$?
    found=$(findings)
    known=$(sed -n 's/^library / (in cuBLASLt itself: /p' <<< "$found")
    found=$(grep -v '^library ' <<< "$found" | grep .)
    said="$((SECONDS - start)) s${known:+$known)}"
    if [ -n "$found" ]; then
        failed=$((failed + 1))
        echo "$tool, $name: failed, $said"
        sort <<< "$found" | uniq -c | head -n 8
    elif [ $status = 124 ] || [ $status = 137 ]; then
        missed=$((missed + 1))
        echo "$tool, $name: not through in $limit s, nothing found so far: $(grep -c '^\[  *OK' "$log") tests passed${known:+$known)}"
    elif [ $status != 0 ]; then
        failed=$((failed + 1))
        echo "$tool, $name: failed with status $status, $said"
        grep -E 'ERROR|FAILED|error' "$log" | head -n 8
    else
        passed=$((passed + 1))
        echo "$tool, $name: passed, $said"
    fi
}

first='test_tensor_steps gated mlp_forward matmul_nt matmul_nt_group attention_forward attention_backward matmul_nn matmul_tn_group
    gated_backward test_attention_rows test_product_rows'
run memcheck "$most" 'the whole table'
run synccheck "$most" 'the whole table' --once
for name in $first $("$table" --list | grep -vxF "$(tr -s ' ' '\n' <<< "$first")"); do
    run racecheck "$most" "$name" --once "$name"
done
echo "gpu-sanitizer: $passed passed, $failed failed, $missed not reached"
[ "$failed" = 0 ]
