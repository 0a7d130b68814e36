#!/usr/bin/env bash
# What `make bench-peers` compares computes the same: Transformers, llama.cpp on the converted weights and jrl give the tokens of a
# response the same log-probabilities and hold the same likeliest. Only where the peers are (make bench-peers gets them).
# shellcheck source=tests/tap.sh
. "${JRL_TOP:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/tap.sh"

peers=${PEERS_FOLDER:-${XDG_CACHE_HOME:-$HOME/.cache}/jrl-peers}
if [ ! -x "$peers/peer_llama" ]; then
    skip 'the peers agree' "they are not in '$peers'; make bench-peers gets them"
    done_testing
    exit 0
fi
# check BENCH POLICY: by the scripts of that folder
check() { "$peers/python" "$1/peers.py" --build "$JRL_BUILD" --peers "$peers" --check "$2" > check.log 2>&1; }
agrees() { check "$JRL_TOP/tests/bench" "$1" || { cat check.log; return 1; }; }

# One step of training, so that norms are not 1 and biases not 0.
sizes=dim=64,layers=2,heads=4,kv-heads=2,mlp=96,positions=256
jrl-model make -q --shape "$sizes" --seed 3 -o llama
jrl-model make -q --shape "$sizes,tied=0" --arch qwen2 --seed 5 -o qwen2
printf '{"uid":%d,"problem":"p","prompt":"p","text":"it is %d"}\n' 1 7 2 8 3 9 4 1 | jrl-pack --kind rollout > examples.jrl
for arch in llama qwen2; do
    jrl-update -q --objective nll --lr 0.05 --warmup 0 --mini-batch 2 --policy $arch --out $arch-updated examples.jrl > metrics.json
    ok "a model of type $arch" agrees $arch-updated
done

# The comparison can fail: mistakes planted in the conversion.
# planted NAME SED POLICY MESSAGE
planted() {
    rm -rf bench
    cp -R "$JRL_TOP/tests/bench" bench
    sed -i "$2" bench/hf_to_gguf.py
    ok "found: $1" exits 1 cmp -s bench/hf_to_gguf.py "$JRL_TOP/tests/bench/hf_to_gguf.py"
    ok '... by the comparison' eval "! check bench '$3' && grep -q '$4' check.log || { cat check.log; false; }"
}
planted 'rotary rows left in halves' 's/if arch == "llama" and/if False and/' llama-updated 'log-probabilities differ by up to'
planted 'biases left out' 's/w.add_tensor(gguf_name(name), to_f32(bits))/w.add_tensor(gguf_name(name), to_f32(bits) * (not name.endswith("bias")))/' qwen2-updated \
    'log-probabilities differ by up to'
planted 'a norm that is not a number' 's/w.add_tensor(gguf_name(name), to_f32(bits))/w.add_tensor(gguf_name(name), to_f32(bits) + np.float32("nan"))/' llama-updated \
    'missing or not finite'
done_testing
