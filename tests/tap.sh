# tap.sh - for TAP test scripts: a scratch folder, ok/skip/plan. Source it first; end with `done_testing`.
# shellcheck shell=bash
set -u
: "${JRL_TOP:=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}"
: "${JRL_BUILD:=$JRL_TOP/build/release}"
PATH="$JRL_BUILD/bin:$PATH"
export SHARED="$JRL_TOP/../shared" # real data sets, where they lie beside the project
export LC_ALL=C.UTF-8 TZ=UTC
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
tap_n=0 tap_failed=0

# jq -e as of 1.7: not true when nothing came in or out, which 1.6 takes for truth.
jq() {
    local out status=0
    [[ ${1:-} == -[!-]* && $1 == *e* ]] || { command jq "$@"; return; }
    out=$(command jq "$@") || status=$?
    [ -z "$out" ] || printf '%s\n' "$out"
    [ "$status" -eq 0 ] && [ -z "$out" ] && status=4
    return "$status"
}
export -f jq

# values: JSON with numbers as jq 1.6 prints them; later ones leave 1.0 as it was written.
values() { jq -c 'walk(if type == "number" then . + 0 else . end)' "$@"; }

# ok NAME COMMAND...: passes when the command succeeds; its output is shown when it fails.
ok() {
    local name=$1 output
    shift
    tap_n=$((tap_n + 1))
    if output=$("$@" 2>&1); then
        echo "ok $tap_n - $name"
    else
        tap_failed=$((tap_failed + 1))
        echo "not ok $tap_n - $name"
        printf '# %s\n' "command: $*"
        printf '%s\n' "$output" | sed 's/^/# /' | head -n 20
    fi
}

# timed NAME COMMAND...: ok, and the seconds that it took
timed() {
    local start=${EPOCHREALTIME/./} tenths
    ok "$@"
    tenths=$(((${EPOCHREALTIME/./} - start) / 100000))
    echo "# $((tenths / 10)).$((tenths % 10)) s"
}

# skip NAME REASON
skip() {
    tap_n=$((tap_n + 1))
    echo "ok $tap_n - $1 # SKIP $2"
}

# exits CODE COMMAND...: succeeds when the command exits with CODE (a signal is 128+N).
exits() {
    local want=$1 got
    shift
    "$@"
    got=$?
    [ "$got" -eq "$want" ] || { echo "exit code $got, expected $want"; return 1; }
}

# fails_with CODE 'REGEX' COMMAND...: exit code CODE and one line on stderr that matches.
fails_with() {
    local want=$1 regex=$2 got lines
    shift 2
    "$@" 2> "$scratch/.stderr" > "$scratch/.stdout"
    got=$?
    cat "$scratch/.stderr"
    [ "$got" -eq "$want" ] || { echo "exit code $got, expected $want"; return 1; }
    grep -Eq -- "$regex" "$scratch/.stderr" || { echo "no line matches: $regex"; return 1; }
    lines=$(grep -c 'error:' "$scratch/.stderr")
    [ "$lines" -eq 1 ] || { echo "$lines error lines, expected 1"; return 1; }
}

same() { cmp "$1" "$2"; }

done_testing() { echo "1..$tap_n"; }
