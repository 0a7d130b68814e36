#!/usr/bin/env bash
# What we write loads in Transformers: configuration, tokenizer, chat template and weights, with the log-probabilities
# that we compute. Where that has no torch (make reference), a model of numpy's own takes the place of Transformers'
# models, and is itself held against what they gave; tests/slow/transformers.sh has torch.
. "$(dirname "$0")/tap.sh"

python=${JRL_PYTHON:-python3} check=$JRL_TOP/tests/reference/check_policy.py mode=(--numpy)
export TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
if ! "$python" -c 'import transformers, safetensors, numpy, jinja2' 2> /dev/null; then
    skip 'Transformers loads what we write' 'no transformers: make reference; JRL_PYTHON names another Python'
    done_testing
    exit 0
fi
if "$python" -c 'import torch' 2> /dev/null; then
    mode=()
    loaded=Transformers
else
    loaded="Transformers' configuration and tokenizer and a model of numpy"
    ok "numpy's models give the logits of Transformers'" "$python" "$check" --golden "$JRL_TOP"/tests/golden/model/*/
fi

sizes=dim=64,layers=2,heads=4,kv-heads=2,mlp=96,positions=256
jrl-model make -q --shape "$sizes" --seed 3 -o llama
jrl-model make -q --shape "$sizes,tied=0" --seed 3 --dtype f32 -o untied
jrl-model make -q --shape "$sizes,heads=6,head-dim=16" --arch qwen2 --seed 5 -o qwen2
jrl-model make -q --shape "$sizes" --arch qwen2 --tokenizer "$JRL_TOP/tests/golden/tokenizer/qwen2" -o chatml
jrl-model cast -q --dtype f32 -o cast qwen2
printf '{"uid":%d,"problem":"p","prompt":"p","text":"it is %d"}\n' 1 7 2 8 3 9 4 1 | jrl-pack --kind rollout > examples.jrl
update() { jrl-update -q --objective nll --lr 1e-2 --warmup 0 --mini-batch 2 --policy "$1" --out "$2" examples.jrl > /dev/null; }
ok 'an update' update qwen2 updated
ok '... that changes the weights' exits 1 cmp -s qwen2/model.safetensors updated/model.safetensors
jrl-model cast -q --dtype f32 -o updated-f32 updated
for policy in llama untied qwen2 chatml cast updated updated-f32; do
    ok "$loaded: $policy" "$python" "$check" "${mode[@]}" "$policy"
done
if [ ${#mode[@]} -eq 0 ] && [ -f "$JRL_TOP/build/smollm2/model.safetensors" ]; then
    jrl-model cast -q --dtype f32 -o smollm2 "$JRL_TOP/build/smollm2"
    ok "$loaded: SmolLM2-135M-Instruct, written as f32" "$python" "$check" smollm2
fi

# The comparison itself can fail: log-probabilities of other weights.
mkdir fake
printf '#!/bin/sh\nshift 2\nexec %q --policy updated "$@"\n' "$(command -v jrl-logprob)" > fake/jrl-logprob
chmod +x fake/jrl-logprob
differs() { exits 1 env PATH="$PWD/fake:$PATH" "$python" "$check" "${mode[@]}" qwen2 > differs.log 2>&1 && grep 'qwen2: largest difference [0-9]' differs.log; }
ok 'other weights are found' differs
done_testing
