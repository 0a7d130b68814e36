# justrl.sh - what `justrl` does in a step: samples a batch, learns from it, publishes the policy, evaluates it; the tools' options.
# Sourced by it; the driver's options, the run folder and the order of things are there.
# shellcheck shell=bash disable=SC2034,SC2154 # what is set here is used there, and the other way round

# Options of the tools that are the same in every step.
set_tools() {
    local template=(${opt[template]:+--template "${opt[template]}"})
    set_compute
    batching=(--seed "${opt[seed]}" --batch-size "${opt[batch-size]}")
    sampling=(--samples "${opt[samples]}" --temperature "${opt[temperature]}" --top-p "${opt[top-p]}" --top-k "${opt[top-k]}"
        --seed "${opt[seed]}" --max-prompt-tokens "${opt[max-prompt-tokens]}" --max-tokens "${opt[max-tokens]}" --batch "${opt[batch]}"
        "${template[@]}" "${compute[@]}")
    verifying=(--rule "${opt[rule]}" ${opt[reward]:+--reward "${opt[reward]}"})
    scoring=(--estimator "${opt[estimator]}" ${opt[permute]:+--permute "${opt[permute]}"})
    learning=(--mini-batch "${opt[mini-batch]}" --micro-tokens "${opt[micro-tokens]}" --lr "${opt[lr]}" --warmup "${opt[warmup]}"
        --weight-decay "${opt[weight-decay]}" --beta1 "${opt[beta1]}" --beta2 "${opt[beta2]}" --eps "${opt[eps]}"
        --grad-clip "${opt[grad-clip]}" --clip-low "${opt[clip-low]}" --clip-high "${opt[clip-high]}"
        --dual-clip "${opt[dual-clip]}" --aggregate "${opt[aggregate]}" --kl "${opt[kl]}" --kl-coef "${opt[kl-coef]}"
        --entropy-coef "${opt[entropy-coef]}" ${opt[is-cap]:+--is-cap "${opt[is-cap]}"} "${compute[@]}")
    evaluating=(--samples "${opt[eval-samples]}" --temperature "${opt[eval-temperature]}" --top-p "${opt[eval-top-p]}"
        --seed "${opt[seed]}" --max-tokens "${opt[eval-max-tokens]}" --batch "${opt[batch]}" "${template[@]}" "${compute[@]}")
}

# What a tool refuses is said now, and not after the sampling.
check_tools() { # POLICY
    check_filters "$1"
    print_memory "$1" > /dev/null || refused $?
}
check_filters() { # POLICY
    check_tool jrl-batch "${batching[@]}"
    check_tool jrl-verify "${verifying[@]}"
    check_tool jrl-advantage "${scoring[@]}"
    [ ${#evals[@]} -eq 0 ] || jrl-sample --plan --policy "$1" "${evaluating[@]}" > /dev/null || refused $?
}
check_tool() { # COMMAND...: one without --plan; 3: what it reads is no stream
    local said status=0
    said=$("$@" < /dev/null 2>&1 > /dev/null) || status=$?
    [ "$status" -ne 2 ] || { printf '%s\n' "$said" >&2; refused 2; }
}
refused() { # STATUS of a tool, which has said why
    explained=1
    exit "$1"
}

sample_command() { # STEP
    printf '%q ' jrl-batch "${batching[@]}" --step "$1" --steps 1 -- "${opt[data]}"
    printf '| '
    printf '%q ' jrl-sample --policy "$run/policy/$(step_name $(($1 - 1)))" "${sampling[@]}"
}
learn_command() { # STEP: reads the sampled batch
    local fresh=()
    [ "$1" -ne 1 ] || fresh=(--fresh-optimizer) # of the start policy only the weights count
    printf '%q ' jrl-verify "${verifying[@]}" -- "$run/batches/$(step_name "$1").jrl"
    printf '| '
    printf '%q ' jrl-advantage "${scoring[@]}"
    printf '| '
    printf '%q ' jrl-update --policy "$run/policy/$(step_name $(($1 - 1)))" --out "$run/policy/$(step_name "$1")" --step "$1" "${fresh[@]}" "${learning[@]}"
}

sample() { # STEP: batches/STEP.jrl; a cut one is continued
    resumable "$run/batches/$(step_name "$1").jrl" "$run/log/$(step_name "$1").log" "sampling of step $1" "$(sample_command "$1")"
}

learn() { # STEP: policy/STEP
    local log status=0
    log=$run/log/$(step_name "$1").log
    pipeline "$log" "$(learn_command "$1")" || status=$?
    [ -d "$run/policy/$(step_name "$1")" ] || report_failure "$status" "$log" "update of step $1"
}

publish() { # STEP: `latest` moves last, then the metrics line, then what is no longer kept goes
    ln -sfn "$(step_name "$1")" "$run/policy/.latest"
    mv -f -T "$run/policy/.latest" "$run/policy/latest"
    sync "$run/policy"
    jq -c . "$run/policy/latest/metrics.json" >> "$run/metrics.jsonl"
    sync "$run/metrics.jsonl"
    prune "$1"
}

prune() {
    local path n
    for path in "$run"/policy/[0-9]*; do
        [ ! -L "$path" ] || continue
        n=$((10#${path##*/}))
        if [ "$n" -lt $(($1 - 1)) ] && [ $((n % opt[save-every])) -ne 0 ]; then rm -rf -- "$path"; fi
    done
    [ "${opt[keep-batches]}" != all ] || return 0
    local keep=${opt[keep-batches]}
    [ "$keep" != none ] || keep=0
    for path in "$run"/batches/[0-9]*.jrl; do
        [ -e "$path" ] || continue
        n=${path##*/}
        [ $((10#${n%.jrl})) -gt $(($1 - keep)) ] || rm -f -- "$path"
    done
}

eval_sample_command() { # STEP PROBLEMS
    printf '%q ' jrl-sample --policy "$run/policy/$(step_name "$1")" "${evaluating[@]}"
    printf '< %q' "$2"
}
eval_score_command() { # STEP SAMPLES...
    printf '%q ' jrl-cat -- "${@:2}"
    printf '| '
    printf '%q ' jrl-verify --rule "${opt[rule]}"
    printf '| '
    printf '%q ' jrl-eval --by "${opt[eval-by]}" --json
    printf '| '
    printf '%q ' jq -c "{step: $1} + ."
}

evaluate() { # STEP: eval/STEP.json, when it is due and not there; cut samples are continued
    local i file log status=0 samples=()
    if [ ${#evals[@]} -eq 0 ] || [ $(($1 % opt[eval-every])) -ne 0 ]; then return 0; fi
    file=$run/eval/$(step_name "$1").json
    if [ -f "$file" ]; then
        rm -f -- "${file%.json}".*.jrl # a kill came between the two
        return 0
    fi
    log=$run/log/$(step_name "$1").eval.log
    for i in "${!evals[@]}"; do
        samples+=("$run/eval/$(step_name "$1").${eval_names[i]}.jrl")
        resumable "${samples[i]}" "$log" "evaluation of step $1 on ${eval_names[i]}" "$(eval_sample_command "$1" "${evals[i]}")"
    done
    pipeline "$log" "$(eval_score_command "$1" "${samples[@]}") > $(printf %q "$file.tmp")" || status=$?
    [ "$status" -eq 0 ] || report_failure "$status" "$log" "scoring of step $1"
    commit "$file"
    rm -f -- "${samples[@]}"
    note "step $1: $(jq -r '"avg@\(.overall.samples) \(.overall.avg)"' "$file")"
}

check_stop_if() { # 3: jq cannot compile it
    local status=0
    [ -n "${opt[stop-if]}" ] || return 0
    jq -n "${opt[stop-if]}" > /dev/null 2>&1 || status=$?
    [ "$status" -ne 3 ] || fail 2 "--stop-if '${opt[stop-if]}' is no jq expression, such as '.entropy < 0.05'"
}

end_if_asked() { # STEP
    local status=0 metrics
    metrics=$(jq -c "select(.step == $1)" "$run/metrics.jsonl")
    [ -n "${opt[stop-if]}" ] && [ -n "$metrics" ] || return 0
    jq -e "${opt[stop-if]}" > /dev/null <<< "$metrics" || status=$?
    case $status in
    0) note "step $1: '${opt[stop-if]}' is true: the run ends here"; exit 4 ;;
    1 | 4) ;; # false, or nothing
    *) fail 2 "--stop-if '${opt[stop-if]}' fails on the metrics of step $1" ;;
    esac
}
