#!/usr/bin/env bash
# The demo on a GPU: a small model learns column addition through the whole pipeline, as far as on the CPU (t0900), and in every step the trainer finds what
# the sampler recorded, to the last bit. Part of check-gpu; without a real plug-in (tests/gpu.sh) on the emulated GPU, where this shows in a minute
# that it works: gpu-learning.sh --steps 1 --batch-size 4 --example-steps 0 --test-problems 3
# Usage: gpu-learning.sh [OPTION OF THE DEMO...]: with any, no accuracy is asked for.
# shellcheck source=tests/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"
# shellcheck source=tests/gpu.sh
. "$JRL_TOP/tests/gpu.sh"
needs_plugin 'learning on a GPU'
gpu_folder gpu bin/jrl-sample bin/jrl-update
PATH=$PWD/gpu/bin:$PATH
export JRL_EMULATOR_OPEN=1 JRL_BUILD # pipelines then take programs from PATH

"$JRL_TOP/pipelines/demo" --no-controls --out demo --device cuda "$@" > demo.txt 2> demo.err
status=$?
sed 's/^/# /' demo.txt
metrics=demo/run/metrics.jsonl
# every_step FILTER: true of each step's metrics, and there are all of them; a NaN is true of nothing here
every_step() { jq -e -n --argjson n "$(cat demo/run/steps)" "[inputs | $1] | length == \$n and all" $metrics || { head -n 3 $metrics; return 1; }; }
row() { sed -n "s/^$1 *\([0-9.]*\) *\([0-9.]*\)\$/\\$2/p" demo.txt; }
at_most() { awk -v x="$1" -v bound="$2" 'BEGIN { exit !(x ~ /^[0-9.]+$/ && x <= bound) }'; }
at_least() { awk -v x="$1" -v bound="$2" 'BEGIN { exit !(x ~ /^[0-9.]+$/ && x >= bound) }'; }

ok 'the demo ends well' bash -c "cat demo.err demo/run.log; exit $status"
ok '... on tensor cores' on_tensor_cores demo/run/policy/latest
ok 'the first ratios of each step are exactly 1' every_step '.ratio_first_min == 1 and .ratio_first_max == 1 and .updates == 4'
ok '... and no logprob differs between sampler and trainer' every_step '.mismatch_share == 0 and .mismatch_max == 0'
if [ $# = 0 ]; then
    ok 'it starts at 0.40 or below' at_most "$(row 'all problems' 1)" 0.40
    ok 'it reaches 0.80' at_least "$(row 'all problems' 2)" 0.80
    ok 'at least 90 % of the first responses hold a box' at_least "$(row boxed 1)" 0.90
fi
done_testing
echo "gpu-learning: $((tap_n - tap_failed)) passed, $tap_failed failed, $SECONDS s"
[ "$tap_failed" = 0 ]
