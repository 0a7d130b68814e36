#!/usr/bin/env python3
"""Loads a policy folder in Transformers and compares its logprobs with those of jrl-logprob, in f32.

Usage: check_policy.py POLICY. The jrl tools are found on PATH. Exit code 1 when they differ by more than 1e-4.
Not used by the tests unless JRL_REFERENCE_PYTHON names a Python with torch and transformers.
"""
import json
import subprocess
import sys

import torch
import transformers


def ours(policy, sequences):
    records = [{"uid": i, "sample": 0, "samples": 1, "prompt_tokens": {"$u32": s[:n]}, "tokens": {"$u32": s[n:]}, "temperature": 1.0}
               for i, (s, n) in enumerate(sequences)]
    command = f"jrl-pack --kind rollout | jrl-logprob --policy '{policy}' --as ours --dtype f32 | jrl-view"
    out = subprocess.run(["bash", "-o", "pipefail", "-c", command], input="\n".join(map(json.dumps, records)), text=True,
                         stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(line)["ours_logprobs"]["$f32"] for line in out.splitlines() if "ours_logprobs" in line]


def main():
    policy = sys.argv[1]
    tokenizer = transformers.AutoTokenizer.from_pretrained(policy)
    text = "<|im_start|>user\n" + "h\u00e9llo <|im_end|>\n"
    ids = tokenizer.encode(text, add_special_tokens=False)
    if tokenizer.decode(ids) != text:
        sys.exit(f"the tokenizer does not give the text back: {tokenizer.decode(ids)!r}")
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True)
    if rendered != "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n":
        sys.exit(f"the chat template gives {rendered!r}")
    model = transformers.AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    sequences = [(torch.randint(0, len(tokenizer), (n,), generator=generator).tolist(), p) for n, p in [(100, 9), (33, 1), (20, 12)]]
    got = ours(policy, sequences)
    worst = 0.0
    for (s, n), mine in zip(sequences, got, strict=True):
        with torch.no_grad():
            logprobs = torch.log_softmax(model(torch.tensor([s])).logits[0].double(), -1)
        theirs = logprobs[range(n - 1, len(s) - 1), s[n:]]
        worst = max(worst, (theirs - torch.tensor(mine).double()).abs().max().item())
    print(f"{policy}: largest difference {worst:.3g}")
    if not worst <= 1e-4:
        sys.exit(1)


if __name__ == "__main__":
    main()
