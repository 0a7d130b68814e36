#!/usr/bin/env python3
"""One measurement of Transformers and torch on the CPU, printed as one line of JSON. peers.py runs it beside ours.

    peer_torch.py THREADS versions
    peer_torch.py THREADS generate POLICY bfloat16|float32 BATCH PROMPT RESPONSE
    peer_torch.py THREADS score POLICY bfloat16|float32 PROMPT TOKEN,... [TOKEN,...]   PROMPT: how many of the tokens are the prompt
    peer_torch.py THREADS train POLICY SEQUENCES TOKENS WAY       WAY = words joined by +, see train()
    peer_torch.py THREADS matmul M N K
"""
import json
import statistics
import sys
import time

import torch
import transformers

clock = time.perf_counter
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def load(policy, dtype):
    return transformers.AutoModelForCausalLM.from_pretrained(policy, dtype=dtype, attn_implementation="sdpa")


class Arrivals(transformers.LogitsProcessor):
    """When the logits of each new token were there."""

    def __init__(self):
        self.times = []

    def __call__(self, input_ids, scores):
        self.times.append(clock())
        return scores


def generate(policy, dtype, batch, n_prompt, n_response):
    model = load(policy, dtype).eval()
    model.generation_config.eos_token_id = None  # every response takes its whole length, as ours do
    prompts = torch.randint(0, model.config.vocab_size, (batch, n_prompt))

    def run(n):
        arrivals = Arrivals()
        start = clock()
        model.generate(prompts, attention_mask=torch.ones_like(prompts), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                       max_new_tokens=n, pad_token_id=0, logits_processor=[arrivals])
        end = clock()
        return end - start, arrivals.times[0] - start, end - arrivals.times[0]

    run(4)
    seconds, prefill, decode = run(n_response)
    return {"all": batch * n_response / seconds, "decode": batch * (n_response - 1) / decode, "prefill": batch * n_prompt / prefill}


def score(policy, dtype, n_prompt, sequences):
    """Of each sequence: the log-probability of each token of the response and of the likeliest one there, and how far logits spread."""
    model, results = load(policy, dtype).eval(), []
    for tokens in sequences:
        with torch.inference_mode():
            logits = model(torch.tensor([tokens])).logits[0, n_prompt - 1:-1].double()
        logprobs = logits.log_softmax(-1)
        results.append({"logprobs": logprobs.gather(-1, torch.tensor(tokens[n_prompt:])[:, None])[:, 0].tolist(), "best": logprobs.amax(-1).tolist(),
                        "spread": logits.std(-1).mean().item()})
    return results


def train(policy, n_sequences, n_tokens, way):
    """WAY: `autocast` (f32 weights, bf16 autocast), `bf16` or `f32` (weights of it); `checkpoint` recomputes layers; `compile`;
    without `own` the loss is the model's, with it a cross-entropy of logits as they come, which needs less memory."""
    words = way.split("+")
    model = load(policy, torch.bfloat16 if "bf16" in words else torch.float32).train()
    model.config.use_cache = False
    if "checkpoint" in words:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0.1, fused=True)
    ids = torch.randint(0, model.config.vocab_size, (n_sequences, n_tokens + 1))
    call = torch.compile(model) if "compile" in words else model
    for _ in range(3):  # the first two touch fresh memory, or compile
        start = clock()
        with torch.autocast("cpu", torch.bfloat16, enabled="autocast" in words):
            if "own" in words:
                logits = call(input_ids=ids[:, :-1]).logits
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
            else:
                loss = call(input_ids=ids[:, :-1], labels=ids[:, :-1], shift_labels=ids[:, 1:].contiguous()).loss
        loss.backward()
        middle = clock()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        end = clock()
        optimizer.zero_grad()
    assert torch.isfinite(loss)
    return {"forward_backward_s": middle - start, "optimizer_s": end - middle}


def matmul(m, n, k):
    """In bf16, or in f32 where that is faster: oneDNN has no bf16 for AVX2."""
    medians = []
    for dtype in (torch.bfloat16, torch.float32):
        x, w, times = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype), []
        while len(times) < 53 and sum(times) < 20:
            start = clock()
            torch.matmul(x, w.t())
            times.append(clock() - start)
        medians.append(statistics.median(times[3:] or times))
    return {"flops": 2 * m * n * k / min(medians)}


def main():
    threads, job, *rest = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    if job == "generate":
        result = generate(rest[0], getattr(torch, rest[1]), *map(int, rest[2:]))
    elif job == "score":
        result = score(rest[0], getattr(torch, rest[1]), int(rest[2]), [list(map(int, r.split(","))) for r in rest[3:]])
    elif job == "train":
        result = train(rest[0], *map(int, rest[1:3]), rest[3])
    elif job == "matmul":
        result = matmul(*map(int, rest))
    else:
        result = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
