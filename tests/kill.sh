# kill.sh - for tests that kill a program before or after one of its file operations (tests/faults.c). Source it
# after tap.sh. The library is build/.../tests/faults.so; where it cannot be preloaded (sanitizers), have_faults fails.
# shellcheck shell=bash

have_faults() { [ -f "$JRL_BUILD/tests/faults.so" ] && ! grep -q fsanitize "$JRL_BUILD/flags" 2> /dev/null; }

# with_faults FOLDER LOG AT WHEN KILL COMMAND...: run with calls under FOLDER counted, and killed at call AT: a number
# (0: never), or a part of the call's line in the log
with_faults() {
    local folder log=$2 at=$3 when=$4 who=$5 match=
    [[ $at =~ ^[0-9]+$ ]] || match=$at
    folder=$(realpath -- "$1")
    shift 5
    head -c 8 /dev/zero > "$log.count"
    rm -f "$log"
    env JRL_FAULTS="$(realpath -- "$log.count")" JRL_FAULTS_UNDER="$folder" JRL_FAULTS_LOG="$(realpath -m -- "$log")" \
        JRL_FAULTS_AT="$at" ${match:+JRL_FAULTS_MATCH="$match"} JRL_FAULTS_WHEN="$when" JRL_FAULTS_KILL="$who" LD_PRELOAD="$JRL_BUILD/tests/faults.so" "$@"
}
