# common.sh - what the drivers share: messages, options with defaults, recipes, signals.
# Sourced by a script that has set `program`, its name in messages, and declares `opt` with its options' defaults
# before it parses; a driver that keeps a recipe defines recipe_text.
# shellcheck shell=bash disable=SC2034,SC2154 # what is set here is used there, and the other way round
# shellcheck source=pipelines/programs.sh
. "$(dirname "${BASH_SOURCE[0]}")/programs.sh"

fail() { explained=1; echo "$program: error: $2" >&2; exit "$1"; }
note() { echo "$program: $*" >&2; }

need_programs() {
    local name
    for name; do command -v "$name" > /dev/null || fail 1 "program '$name' was not found on PATH"; done
}

# ---- options --------------------------------------------------------------------------------------

given='' # names of the options of the command line
set_option() { # --NAME VALUE
    local name=${1#--}
    [[ $name == [a-z]* && -n ${opt[$name]+known} ]] || fail 2 "unknown option '--$name'; try $program --help"
    [[ $2 != *$'\n'* ]] || fail 2 "option '--$name' wants a value without line breaks, since a recipe has one line for each"
    opt[$name]=$2
    given+=" $name "
}
option_names() { printf '%s\n' "${!opt[@]}" | sort; }
# NAME [LEAST [DIGITS [OR]]]: no more digits than arithmetic takes, for which zeros in front would make it octal.
whole_number() {
    local value=${opt[$1]} digits=${3:-9}
    if ! [[ $value =~ ^[0-9]+$ ]] || [ ${#value} -gt "$digits" ] || [ "$value" -lt "${2:-0}" ]; then
        fail 2 "option '--$1' wants a whole number from ${2:-0}, of at most $digits digits${4:-}, not '$value'"
    fi
    opt[$1]=$((10#$value))
}

# What tools that run a model share.
set_compute() {
    compute=(--dtype "${opt[dtype]}" ${opt[numerics]:+--numerics "${opt[numerics]}"} --device "${opt[device]}" --threads "${opt[threads]}" ${opt[memory]:+--memory "${opt[memory]}"})
}

# ---- files ----------------------------------------------------------------------------------------

move_whole() { # FROM FILE: after a power cut FILE is whole, or as it was
    sync "$1" && mv -f -T "$1" "$2" && sync "$(dirname "$2")"
}
# FILE: FILE.tmp takes its place. Behind the command that has written it, not in a pipe: which of the two failed would not matter there.
commit() { move_whole "$1.tmp" "$1"; }

digest() { sha256sum < "$1" | cut -d' ' -f1; }

take_lock() { # WHOSE-IT-IS FLOCK-ARGUMENTS...: or 75; but where there are no locks, calling again would be for ever
    local status=0
    flock -n "${@:2}" || status=$?
    [ "$status" -ne 1 ] || { note "$1"; exit 75; }
    [ "$status" -eq 0 ] || fail 1 "cannot lock: this folder's file system has no flock(2), which must be switched on where it is mounted"
}

# ---- recipes: lines NAME VALUE that must not change under a folder of results -----------------------

# Recorded options stand for those not given now; the caller sees to names that are no options.
load_options() { # FILE
    local line name value
    while IFS= read -r line; do # values keep their blanks
        name=${line%% *} value=${line#"$name"}
        [[ $name != \#* && -n $name && -n ${opt[$name]+known} ]] || continue
        [[ $given == *" $name "* ]] || opt[$name]=${value# }
    done < "$1"
}

recipe=''
set_recipe() { recipe=$(recipe_text) || exit $?; } # as it is now; a recipe_text that fails has said why

recipe_difference() { # FOLDER: prints it; false when there is one
    diff <(grep -v '^#' "$1/recipe") - <<< "$recipe"
}

change_recipe() { # FOLDER WHEN DIFFERENCE: the present options, with what they replace as a comment
    note "recording changed options:" $'\n'"$3"
    {
        grep '^#' "$1/recipe"
        printf '# changed %s:\n' "$2"
        # shellcheck disable=SC2001 # every line gets a mark
        sed 's/^/#   /' <<< "$3"
        printf '%s\n' "$recipe"
    } > "$1/recipe.tmp"
    commit "$1/recipe"
}

new_recipe() { # FOLDER TOOL
    { printf '# ' && "$2" --version && printf '%s\n' "$recipe"; } > "$1/recipe.tmp"
    commit "$1/recipe"
}

refuse_recipe() { # WHAT DIFFERENCE HINT
    printf '%s\n' "$2" >&2
    fail 2 "these options differ from the $1's recipe ('<' recorded, '>' now); $3"
}

# ---- signals --------------------------------------------------------------------------------------

# INT, TERM and USR1: the pipeline at work gets TERM (jrl-update finishes its step first) and we end with 75, "run me
# again". Pipelines run in the background and are waited for, so that a signal reaches us at once.
stopping=''
stop() {
    stopping=$1
    note "$1: stopping cleanly"
    [ -z "${job:-}" ] || kill -TERM -- "-$job" 2> /dev/null || true
}
trap 'stop INT' INT
trap 'stop TERM' TERM
trap 'stop USR1' USR1

# What failed after a signal was signalled, too, as by a terminal and by Slurm, or could not be waited for.
# Bash 5.2 cannot parse a trap's command when the signal came during the first of two command substitutions of one
# command: it ends with status 2, and `stop` was not called. Whatever else ends with 2 has failed or said why.
explained=''
set -E
trap 'explained=1' ERR
trap 'ended $?' EXIT
ended() { # STATUS
    [ "$1" -eq 0 ] || [ -z "$stopping" ] || exit 75
    [ "$1" -ne 2 ] || [ -n "$explained" ] || exit 75
}

job='' log_bytes=0
pipeline() { # LOG COMMAND-LINE; none is begun after a signal
    local status=0
    [ -z "$stopping" ] || exit 75
    log_bytes=$(stat -c %s "$1" 2> /dev/null || echo 0)
    set -m
    # The shell outlives a TERM, so that we wait for the tools; they get the signal's own action.
    bash -c "trap : INT TERM USR1; set -euo pipefail; $2" >> "$1" 2>&1 &
    job=$!
    set +m
    [ -z "$stopping" ] || kill -TERM -- "-$job" 2> /dev/null || true # it came before the job had a number
    while :; do
        status=0
        wait "$job" || status=$?
        kill -0 "$job" 2> /dev/null || break
    done
    job=''
    return "$status"
}

report_failure() { # STATUS LOG WHAT
    [ -z "$stopping" ] || exit 75
    tail -c "+$((log_bytes + 1))" "$2" | grep 'error:' | tail -n 3 >&2 || true # not what an earlier call said
    fail "$1" "$3 failed with status $1; its log is '$2'"
}

# ---- what a kill leaves -----------------------------------------------------------------------------

count_records() { { jrl-view --fields sample -- "$1" 2> /dev/null || true; } | wc -l; }

# FILE.part is an output being written, FILE.cut what was taken up for it, so that one is the beginning of the other:
# the longer one becomes FILE.cut.
take_up() { # FILE
    local in_part
    [ -f "$1.part" ] || return 0
    in_part=$(count_records "$1.part")
    if [ "$in_part" -gt 0 ] && { [ ! -f "$1.cut" ] || [ "$in_part" -gt "$(count_records "$1.cut")" ]; }; then
        mv -f "$1.part" "$1.cut"
    else
        rm -f "$1.part"
    fi
}

resumable() { # FILE LOG WHAT COMMAND: FILE by the COMMAND, which takes up a cut FILE by --resume
    local file=$1 status=0 resume=''
    if [ -f "$file" ]; then
        rm -f "$file.cut" # a kill came between the two
        return 0
    fi
    take_up "$file"
    [ ! -f "$file.cut" ] || resume=" --resume $(printf %q "$file.cut")"
    pipeline "$2" "$4$resume > $(printf %q "$file.part")" || status=$?
    [ "$status" -eq 0 ] || report_failure "$status" "$2" "$3"
    move_whole "$file.part" "$file"
    rm -f "$file.cut"
}
