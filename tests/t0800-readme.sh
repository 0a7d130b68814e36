#!/usr/bin/env bash
# The README's tour runs as it is printed; its commands for a GPU machine run with --plan on a stand-in policy.
. "$(dirname "$0")/tap.sh"
readme=$JRL_TOP/README.md

sed -n '/^<!-- tour/,/^<!-- end of tour/p' "$readme" | sed '/^<!--/d; /^```/d' > tour.sh
ok "the tour is there" test -s tour.sh
ok "every line of the tour runs" bash -euo pipefail tour.sh
ok "and makes a second policy" test -f policy1/model.safetensors

# The reward of one's own on the tour's batch: one program and two judge alike, boundaries in their places.
own_reward() { sed -n '/^## Your own reward/,/^## What/p' "$readme" | sed -n "/^...$1\$/,/^...\$/p" | sed '1d; $d'; }
own_reward python > reward.py
own_reward sh > reward.sh
if command -v python3 > /dev/null; then
    ok "the reward in Python" env JRL_THREADS=2 bash -euo pipefail reward.sh
    ok "... by two programs as by one" cmp <(jrl-view --header mine.jrl | tail -n +2) <(bash -c "$(sed 's/-o [^ ]*//' reward.sh)" | jrl-view --header | tail -n +2)
    ok "... rewards every rollout" test "$(jrl-view --fields reward,correct,verifier,dapo.correct mine.jrl | jq -s 'length == 8 and all(.verifier == "exec" and (.reward | type) == "number")')" = true
else
    skip "the reward in Python" 'no python3'
fi

# The commands for a GPU machine, up to --plan, on a stand-in for the Hub's policy and two rows of the data set's layout.
jrl-model make -q --shape dim=32,layers=1,heads=2,kv-heads=1,mlp=64,positions=32768 -o DeepSeek-R1-Distill-Qwen-1.5B
# shellcheck disable=SC2016 # the data set has a dollar
for n in 1 2; do
    printf '{"data_source":"math_dapo","prompt":[{"role":"user","content":"Solve the following math problem step by step. The last line of your response should be of the form Answer: $Answer (without quotes) where $Answer is the answer to the problem.\\n\\nWhat is %d + 1?\\n\\nRemember to put your answer on its own line after \\"Answer:\\"."}],"reward_model":{"ground_truth":"%d","style":"rule"}}\n' "$n" $((n + 1))
done > dapo.jsonl
sed -n '/^## The paper/,/^## What/p' "$readme" | sed -n '/^jrl-import/,/--plan run/p' | sed "s|pipelines/|$JRL_TOP/pipelines/|" > paper.sh
ok "the paper's run: import and plan" sh -c "bash -euo pipefail paper.sh > plan.txt && grep -q 'kept by the run' plan.txt"
imported() { jrl-view --fields problem,prompt dapo.jrl | head -n 1; }
suffix='\n\nPlease reason step by step, and put your final answer within \\boxed{}.'
ok "the problem is the row's without the instruction, then the suffix" test "$(imported)" = "{\"problem\":\"What is 1 + 1?\",\"prompt\":\"What is 1 + 1?$suffix\"}"
ok "and so does the other recipe" sh -c "'$JRL_TOP/pipelines/justrl-nemotron' --policy policy0 --data p.jrl --plan run | grep -q 'kept by the run'"

# The real model on a CPU: the rows are chosen, and one step is made on a stand-in and two of them.
mkdir build
jrl-model make -q --shape dim=32,layers=1,heads=2,kv-heads=1,mlp=64,positions=1024 -o build/smollm2
for row in '1 + 1|2|1' '2 + 1|3|2' '3 + 1|4|3' 'x + 1|x + 1|1' '1 + x|2x|2'; do
    IFS='|' read -r problem answer level <<< "$row"
    printf '{"problem":"What is %s?","answer":"%s","level":"Level %d"}\n' "$problem" "$answer" "$level"
done > math-train.jsonl
smollm2=$(grep '^pipelines/smollm2' "$readme")
ok 'easy rows with numbers for answers are chosen' bash -c "$(grep -- '-train.jsonl > easy.jsonl' "$readme")"
ok 'two of five' test "$(wc -l < easy.jsonl)" -eq 2
small='--candidates 0 --steps 1 --batch-size 2 --samples 2 --max-tokens 8'
ok "SmolLM2's run on a stand-in" bash -euo pipefail -c "$JRL_TOP/${smollm2% run} $small smol"
ok "made its step" test -f smol/run/policy/000001/model.safetensors

# Every program the README names exists, and the other way round.
# shellcheck disable=SC2016 # backquotes of the README's text
programs() { grep -o '`jrl[a-z-]*`' "$readme" | tr -d '`' | sort -u; }
built() { find "$JRL_BUILD/bin" -type f -perm -u+x -printf '%f\n' | sort -u; }
ok "the README names every program" diff <(programs) <(built)
done_testing
