#!/usr/bin/env bash
# The EXAMPLES of the programs' pages run as they are printed, in a folder where the files they name are.
# Only sizes are made small: batches of 2 problems, responses of 16 tokens.
# shellcheck disable=SC2016 # texts for eval, a dollar of a data set
# shellcheck source=tests/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"

make_files() (
    mkdir files && cd files && mkdir -p policy run/policy batches eval && set -e -o pipefail
    for i in 1 2 3 4 5 6; do
        echo "{\"uid\":$i,\"source\":\"sums\",\"problem\":\"$i+1\",\"prompt\":\"$i+1?\",\"answer\":\"$((i + 1))\",\"extra\":{\"level\":$((i % 2))}}"
    done | jrl-pack -o problems.jrl
    jrl-model make -q --seed 1 --shape dim=32,layers=1,heads=2,kv-heads=1,mlp=64,positions=32768 -o model
    for copy in base reference random policy/000120 run/policy/000004 DeepSeek-R1-Distill-Qwen-1.5B CompassVerifier-3B; do cp -R model "$copy"; done
    cp problems.jrl dataset.jrl
    cp problems.jrl a.jrl
    cp problems.jrl b0.jrl
    jrl-sample --policy model --samples 2 --max-tokens 16 -o rollouts.jrl problems.jrl
    jrl-verify -o verified.jrl rollouts.jrl
    printf 'Is it right? {question} {answer} {response}' > compass.txt
    cp verified.jrl before.jrl
    cp verified.jrl after.jrl
    cp rollouts.jrl x.jrl
    cp rollouts.jrl eval/000150.jrl
    head -c $(($(wc -c < rollouts.jrl) - 20)) rollouts.jrl > cut.jrl
    jrl-batch --batch-size 2 --step 121 --steps 1 problems.jrl | jrl-sample --policy policy/000120 --samples 2 --max-tokens 16 -o batches/000121.jrl
    jrl-verify batches/000121.jrl | jrl-advantage -o scored.jrl
    for n in 1 2; do
        printf '{"data_source":"math_dapo","prompt":[{"role":"user","content":"Solve the following math problem step by step. The last line of your response should be of the form Answer: $Answer (without quotes) where $Answer is the answer to the problem.\\n\\nWhat is %d + 1?\\n\\nRemember to put your answer on its own line after \\"Answer:\\"."}],"reward_model":{"ground_truth":"%d","style":"rule"}}\n' "$n" $((n + 1))
    done > dapo-math-17k.jsonl
    printf '{"problem":"1+1","answer":"2"}\n' > aime24.jsonl
    printf '{"id":%d,"response":"so \\\\boxed{3}","ground_truth":"3"}\n' 1 2 > responses.jsonl
    printf '{"id":%d,"problem":"%d+1","prompt":"%d+1?","response":"it is 3","ground_truth":"3"}\n' 1 1 1 2 2 2 > examples.jsonl
)
# The displayed lines of a page's EXAMPLES; between two displays, what one made and the next makes again goes.
examples() {
    mandoc -Tascii -O width=400 "$1" | col -bx | sed -n '/^EXAMPLES/,/^[A-Z]/p' |
        sed -nE 's/^ {11}//p; s/^ {5}[A-Za-z].*/rm -rf policy\/000121/p' |
        sed -E 's/jrl-batch ((.*)--step 5)/jrl-batch --batch-size 2 \1/; s/--samples ([0-9]+)/--samples \1 --max-tokens 16/; s/--max-tokens 512 ?//; s/jrl-judge /jrl-judge --max-tokens 16 /'
}
run_examples() {
    cp -R files "run.$1" && cd "run.$1" || return 1
    examples "$JRL_TOP/man/$1.1" > script
    case $1 in
    jrl-cat) cp b0.jrl b.jrl ;;
    jrl-sample) rm rollouts.jrl ;;
    esac
    [ -s script ] && timeout 60 bash -e script > out 2> err < /dev/null && [ -s script ] && ! grep -E 'error:|usage:' err
    local rc=$?
    [ "$rc" -eq 0 ] || cat script err
    cd ..
    rm -rf "run.$1"
    return "$rc"
}
ok 'the files the examples name' make_files
for page in "$JRL_TOP"/man/*.1; do
    name=$(basename "$page" .1)
    if [ "$name" = jrl-verify ] && ! command -v python3 > /dev/null; then
        skip "$name: examples run" 'no python3'
    else
        ok "$name: examples run" run_examples "$name"
    fi
done
done_testing
