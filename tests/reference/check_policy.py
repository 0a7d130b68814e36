#!/usr/bin/env python3
"""Loads a policy folder as Transformers' users do and compares: tokenizer and chat template with jrl-import's tokens,
log-probabilities with jrl-logprob's in f32. These may be 1e-4 from Transformers' in float64, or one rounding of the largest
value of the residual stream: on SmolLM2-135M that is 22,350, so 1.3e-3 (ours: 2e-4; torch's f32 2e-3 on one machine, below 1e-4 on another).

Usage: check_policy.py [--numpy] POLICY...
       check_policy.py --golden tests/golden/model/NAME...
Needs transformers, with torch; with --numpy the model is numpy_model.py's instead, which --golden holds against the
logits that Transformers gave. The jrl tools are found on PATH. Exit status 1 when something differs.
"""
import json
import os
import subprocess
import sys

import numpy as np
import transformers

import numpy_model

TEXT = "h\u00e9llo wo\u200drld, 12 + 30 = 42 \u4e2d\n"


def pipeline(command, records):
    """The data records that a pipe of jrl tools makes of these."""
    out = subprocess.run(["bash", "-o", "pipefail", "-c", command], input="\n".join(map(json.dumps, records)), text=True,
                         stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def check_tokens(policy, tokenizer, config):
    record, = pipeline(f"jrl-import -q --format responses --policy '{policy}' | jrl-view --plain", [{"problem": TEXT, "response": TEXT, "answer": 1}])
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": TEXT}], tokenize=False, add_generation_prompt=True)
    theirs = tokenizer.encode(rendered, add_special_tokens=False)
    if theirs != record["prompt_tokens"]:
        sys.exit(f"{policy}: the template gives {rendered!r}, {theirs}; jrl-import {record['prompt_tokens']}")
    theirs = tokenizer.encode(TEXT, add_special_tokens=False)
    if record["tokens"][:-1] != theirs or record["tokens"][-1] not in np.atleast_1d(config.eos_token_id):
        sys.exit(f"{policy}: the response is {theirs} and {config.eos_token_id}; jrl-import has {record['tokens']}")
    if tokenizer.decode(theirs) != TEXT:
        sys.exit(f"{policy}: the tokenizer does not give the text back: {tokenizer.decode(theirs)!r}")


def ours(policy, sequences):
    records = [{"uid": i, "sample": 0, "samples": 1, "prompt_tokens": {"$u32": s[:n]}, "tokens": {"$u32": s[n:]}, "temperature": 1.0}
               for i, (s, n) in enumerate(sequences)]
    got = pipeline(f"jrl-pack --kind rollout | jrl-logprob --policy '{policy}' --as ours --dtype f32 | jrl-view --plain", records)
    return [record["ours_logprobs"] for record in got]


def torch_logits(policy):
    import torch
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float64, output_loading_info=True)
    wrong = {k: v for k, v in loading.items() if v}
    if wrong:
        sys.exit(f"{policy}: Transformers loads it with {wrong}")

    def logits(ids):
        with torch.no_grad():
            out = model(torch.tensor([ids]), output_hidden_states=True)
        logits.largest = max([logits.largest] + [h.abs().max().item() for h in out.hidden_states])
        return out.logits[0].double().numpy()
    logits.largest = 0
    return logits


def logprobs(logits, targets):
    top = logits.max(-1, keepdims=True)
    return (logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True)))[range(len(targets)), targets]


def check_policy(policy, by_numpy):
    config = transformers.AutoConfig.from_pretrained(policy)
    tokenizer = transformers.AutoTokenizer.from_pretrained(policy)
    check_tokens(policy, tokenizer, config)
    random = np.random.default_rng(0)
    sequences = [(random.integers(0, len(tokenizer), n).tolist(), p) for n, p in [(100, 9), (33, 1), (20, 12)]]

    def scored(logits):
        return np.concatenate([logprobs(logits(s)[n - 1:-1], s[n:]) for s, n in sequences])
    model = numpy_model.Model(policy).logits if by_numpy else torch_logits(policy)
    exact = scored(model)
    limit = 1e-4 if by_numpy else max(1e-4, 2.0**-24 * model.largest)
    worst = np.abs(np.concatenate(ours(policy, sequences)) - exact).max()
    print(f"{policy}: largest difference {worst:.3g} of {len(exact)}, at most {limit:.3g}")
    return worst <= limit


def check_golden(folder):
    import safetensors.numpy
    golden = safetensors.numpy.load_file(os.path.join(folder, "golden.safetensors"))
    model = numpy_model.Model(folder)
    logits = model.logits(golden["tokens"].astype(int))[golden["rows"].astype(int)]
    worst = np.abs(logits - golden["logits"]).max()
    print(f"{folder}: largest difference {worst:.3g}")
    return worst <= 1e-4


def main():
    args = sys.argv[1:]
    if not args or args[-1].startswith("-"):
        sys.exit(__doc__)
    if args[0] == "--golden":
        good = [check_golden(folder) for folder in args[1:]]
    elif args[0] == "--numpy":
        good = [check_policy(policy, True) for policy in args[1:]]
    else:
        good = [check_policy(policy, False) for policy in args]
    if not all(good):
        sys.exit(1)


if __name__ == "__main__":
    main()
