# evaluate.sh - what `evaluate` does with a benchmark: samples, verdicts, joined shards, scores; and the table of all.
# Sourced by it; the options, the recipe and the order of things are there.
# shellcheck shell=bash disable=SC2154 # what is set there is used here

# ---- one benchmark --------------------------------------------------------------------------------

part() { [ "$shards" = 1 ] && echo "$1" || echo "$1.$2-$shards"; }                                           # NAME SHARD
verdict_file() { [ "$shards" = 1 ] && echo "$out/$1.jrl" || echo "$out/judged/$(part "$1" "$2").jrl"; }     # NAME SHARD
of_shard() { [ "$shards" = 1 ] || echo " (shard $1/$shards)"; }

# Options of jrl-sample and jrl-judge that are the same for every benchmark.
set_tools() {
    set_compute
    sampling=(--temperature "${opt[temperature]}" --top-p "${opt[top-p]}" --top-k "${opt[top-k]}" --seed "${opt[seed]}"
        --max-prompt-tokens "${opt[max-prompt-tokens]}" --max-tokens "${opt[max-tokens]}" --batch "${opt[batch]}"
        ${opt[template]:+--template "${opt[template]}"} "${compute[@]}")
    judging=(--prompt "${opt[judge-prompt]}" --max-tokens "${opt[judge-max-tokens]}" --too-long "${opt[too-long]}" --batch "${opt[batch]}" "${compute[@]}")
    [ "${opt[empty-question]}" = no ] || judging+=(--empty-question)
}

sample_command() { # NAME SHARD
    local more=()
    [ "$shards" = 1 ] || more=(--shard "$2/$shards")
    printf '%q ' jrl-sample --policy "${opt[policy]}" --samples "${count[$1]}" "${more[@]}" "${sampling[@]}"
    printf '< %q' "$out/problems/$1.jrl"
}
verdict_command() { # NAME SHARD: reads the samples
    printf '%q ' jrl-verify --rule "${opt[rule]}" -- "$out/samples/$(part "$1" "$2").jrl"
    [ -n "${opt[judge]}" ] || return 0
    printf '| '
    printf '%q ' jrl-judge --policy "${opt[judge]}" "${judging[@]}"
}

sample() { # NAME SHARD
    local file
    file=$out/samples/$(part "$1" "$2").jrl
    [ ! -f "$file" ] || return 0
    [ -d "${opt[policy]}" ] || fail 3 "no policy folder '${opt[policy]}', and $1$(of_shard "$2") is to be sampled"
    resumable "$file" "$out/log/$(part "$1" "$2").log" "sampling of $1$(of_shard "$2")" "$(sample_command "$1" "$2")"
}

judge() { # NAME SHARD: what can be made from the samples at any time
    local file
    file=$(verdict_file "$1" "$2")
    [ ! -f "$file" ] || return 0
    [ -z "${opt[judge]}" ] || [ -d "${opt[judge]}" ] || fail 3 "no folder '${opt[judge]}' of a judge, and $1$(of_shard "$2") is to be judged"
    [ -n "${opt[judge]}" ] || rm -f "$file.part" # the rules alone begin again
    resumable "$file" "$out/log/$(part "$1" "$2").log" "verdicts on $1$(of_shard "$2")" "$(verdict_command "$1" "$2")"
}

# The shards of a benchmark as if there had been one. Their headers say what they were sampled with.
join_shards() { # NAME
    local i file parts=() with='' first='' status=0
    for ((i = 0; i < shards; i++)); do
        file=$(verdict_file "$1" "$i")
        parts+=("$file")
        with=$(jrl-view --header --record 1 -- "$file" | jq -r 'select(.jrl == "header").sampling' | head -n 1)
        [ "$i" -gt 0 ] || first=$with
        [ "$with" = "$first" ] || fail 3 "'$file' was sampled with other options than '${parts[0]}': '$with', not '$first'"
    done
    pipeline "$out/log/$1.log" "$(printf '%q ' jrl-cat --merge -- "${parts[@]}") > $(printf %q "$out/$1.jrl.tmp")" || status=$?
    [ "$status" -eq 0 ] || report_failure "$status" "$out/log/$1.log" "joining of $1"
    commit "$out/$1.jrl"
    rm -f -- "${parts[@]}"
}

find_shards() { # all samples of all shards must be there
    local name i missing=''
    [ "$shards" -gt 1 ] || return 0
    for name in "${names[@]}"; do
        for ((i = 0; i < shards; i++)); do
            [ -f "$out/$name.jrl" ] || [ -f "$out/samples/$(part "$name" "$i").jrl" ] || missing+=", $name $i/$shards"
        done
    done
    [ -z "$missing" ] || fail 3 "shards are missing: ${missing#, }; call with --shard, then again without"
}

# A benchmark's own scores, and that its file holds that benchmark and all of it.
score() { # NAME
    local file=$out/$1.jrl found has should shown problems
    problems=$(count_problems "$out/problems/$1.jrl")
    jrl-eval -j --expect "$out/problems/$1.jrl" -- "$file" > "$out/scores.tmp" || exit $?
    { read -r found && read -r has && read -r shown; } < <(jq -r --arg name "$1" '(.by.source | keys - [$name] | join(", ")), (.overall |
        "\(.problems) problems with \([.samples_min, .samples_max] | unique | join(" to ")) responses",
        "avg@\(.samples) \(.avg * 1e4 | round / 1e4) (\((.avg_low // .avg) * 1e3 | round / 1e3) to \((.avg_high // .avg) * 1e3 | round / 1e3))")' "$out/scores.tmp")
    rm -f "$out/scores.tmp"
    [ -z "$found" ] || fail 3 "'$file' has rollouts of $found besides"
    should="$problems problems with ${count[$1]} responses"
    [ "$has" = "$should" ] || fail 3 "'$file' has $has, not $should"
    note "$1: $shown"
}

# ---- the table ------------------------------------------------------------------------------------

notes() {
    local name other='' few='' evaluated=" ${names[*]} " left_out=()
    if [ -n "${opt[judge]}" ]; then
        echo "verdicts: rule ${opt[rule]}, then judge $(basename "${opt[judge]}") ($judge_id) on what it rejects"
    else
        echo "verdicts: rule ${opt[rule]} alone, without a judge: a right answer in a form that the rule does not know counts as wrong"
    fi
    for name in $all_names; do [[ $evaluated == *" $name "* ]] || left_out+=("$name"); done
    [ ${#left_out[@]} -eq 0 ] || echo "no average: it is the mean of all nine benchmarks, and these were not evaluated: ${left_out[*]}"
    [ "${opt[limit-problems]}" -eq 0 ] || few+=", the first ${opt[limit-problems]} problems of each benchmark only"
    for name in "${names[@]}"; do
        [ "${count[$name]}" = "${published[$name]}" ] || other+=" $name ${count[$name]} (${published[$name]})"
    done
    [ -z "$other" ] || few+=", responses a problem$other"
    [ "${opt[max-tokens]}" = 31744 ] || few+=", at most ${opt[max-tokens]} tokens (31744)"
    [ "${opt[temperature]}" = 0.7 ] || few+=", temperature ${opt[temperature]} (0.7)"
    [ "${opt[top-p]}" = 0.9 ] || few+=", top-p ${opt[top-p]} (0.9)"
    [ "${opt[top-k]}" = 0 ] || few+=", top-k ${opt[top-k]} (0)"
    [ -z "$few" ] || echo "other than published: ${few#, }"
    echo 'published: avg@32, of MATH-500, Minerva and OlympiadBench avg@4, by the rules of POLARIS, then CompassVerifier-3B; - is not known'
}

# A step of a run is named by both.
policy_name() {
    if [ -n "${opt[name]}" ]; then
        echo "${opt[name]}"
    elif [[ ${opt[policy]} =~ /([^/]+)/policy/0*([0-9]+)$ ]]; then
        echo "${BASH_REMATCH[1]}, step ${BASH_REMATCH[2]}"
    else
        basename "${opt[policy]}"
    fi
}

table() {
    local files=() file name format facts
    for name in "${names[@]}"; do files+=("$out/$name.jrl"); done
    jrl-cat -- "${files[@]}" | jrl-eval -j > "$out/eval.json.tmp"
    commit "$out/eval.json"
    facts=$(notes | jq -nR '[inputs] | {notes: ., $policy, $policy_id, $rule, columns: ($columns | split(" ")),
            judge: (if $judge == "" then null else {id: $judge, prompt: $prompt} end)}' \
        --arg policy "$(policy_name)" --arg policy_id "$policy_id" --arg rule "${opt[rule]}" \
        --arg judge "$judge_id" --arg prompt "$judge_prompt_digest" --arg columns "$all_names")
    jq -n -f "$here/evaluate.jq" --arg format json --slurpfile eval "$out/eval.json" --argjson facts "$facts" \
        --rawfile published "$here/published.tsv" > "$out/table.json.tmp"
    commit "$out/table.json"
    for format in text markdown; do
        file=$out/table.$([ "$format" = text ] && echo txt || echo md)
        jq -r -f "$here/evaluate.jq" --arg format "$format" --argjson eval '[]' --argjson facts null --arg published '' "$out/table.json" > "$file.tmp"
        commit "$file"
    done
    cat "$out/table.txt"
}
