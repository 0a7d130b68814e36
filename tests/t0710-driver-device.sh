# The step-by-step driver on an emulated GPU: sampler and trainer agree to the last bit, the run of the CPU where kernels have its
# bits, and a run that goes on after the GPU failed.
# shellcheck shell=bash
. "$(dirname "$0")/tap.sh"
# shellcheck source=tests/gpu.sh
. "$JRL_TOP/tests/gpu.sh"
justrl=$JRL_TOP/pipelines/justrl

needs_plugin 'a run on an emulated GPU'
gpu_folder gpu bin/jrl-sample bin/jrl-update
PATH=$PWD/gpu/bin:$PATH
export JRL_EMULATOR_OPEN=1

awk -f "$JRL_TOP/pipelines/demo.awk" -v kind=problems -v part=train -v count=20 -v seed=1 -v digits=2 > train.jsonl
jrl-import -q --source train -o train.jrl train.jsonl
jrl-model make -q --shape dim=128,layers=2,heads=2,kv-heads=1,mlp=64,positions=128 --tokenizer "$JRL_TOP/pipelines/demo-tokenizer" -o start
# half of the responses count as right, whatever they are: every group teaches something
new=(--policy start --data train.jrl --rule 'exec:jq -c --unbuffered "{reward: (if .sample % 2 == 0 then 1 else -1 end)}"' --batch-size 2
    --samples 4 --mini-batch 1 --max-prompt-tokens 64 --max-tokens 8 --lr 1e-3 --warmup 0 --save-every 1 --threads 1)
quiet() { "$@" > out 2> err || { cat out err; return 1; }; }
# same_run A B STEP
same_run() { cmp "$1/policy/00000$3/model.safetensors" "$2/policy/00000$3/model.safetensors" && cmp "$1/policy/00000$3/optimizer/v.safetensors" "$2/policy/00000$3/optimizer/v.safetensors"; }
of_steps() { values "$1/metrics.jsonl" | jq -c "$2" | tr '\n' ' '; }

ok 'two steps on the GPU that is there' quiet "$justrl" "${new[@]}" --steps 2 whole
ok '... on tensor cores' on_tensor_cores whole/policy/000002
ok '... the first ratios are exactly 1' test "$(of_steps whole '[.ratio_first_min, .ratio_first_max, .updates]')" = '[1,1,2] [1,1,2] '
ok '... and the policy learns' exits 1 cmp -s whole/policy/000001/model.safetensors whole/policy/000002/model.safetensors
ok 'small passes, few responses at a time' quiet "$justrl" "${new[@]}" --micro-tokens 1 --batch 3 --steps 2 small
ok '... end in the same policy' same_run whole small 2

if emulated; then
    breaks() { JRL_EMULATOR_FAIL=adamw:2:late exits 1 "$justrl" "${new[@]}" --steps 2 broken 2> err && grep -q 'jrl-update: error: GPU 0: kernels: unspecified launch failure' err; }
    ok 'a GPU that fails in an update ends the driver' breaks
    ok '... and leaves no policy' test "$(cd broken/policy && echo .[!.]* *)" = '.[!.]* 000000 latest'
    ok 'the run goes on' quiet "$justrl" --steps 2 broken
    ok '... and ends in the same policy' same_run whole broken 2
fi

ok 'the run on the CPU' quiet "$justrl" "${new[@]}" --device cpu --steps 2 cpu
JRL_DISABLE=tensor ok '... and without tensor cores' quiet "$justrl" "${new[@]}" --steps 2 exact
ok '... end in the same policy' same_run cpu exact 2
done_testing
