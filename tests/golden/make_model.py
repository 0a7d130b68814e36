#!/usr/bin/env python3
"""Writes tests/golden/model/NAME/: tiny random Qwen2 and Llama models saved by Transformers, and what
Transformers computes with them: logits of selected rows, logprobs, and gradients by autograd.

Made with torch 2.15.0 and transformers 5.23.0. Weights have bf16 values, so that the f32 and the bf16 test
start from the same numbers. golden.safetensors of a model holds (all F32):
  tokens [512]         one sequence
  rows [n]             rows of it whose logits are stored
  logits [n, vocab]    in f32
  bf16_error [2]       of Transformers' own bf16 logits in these rows against f32: maximum, root mean square
  train.lengths, train.prompts, train.tokens   a batch of unequal lengths, its sequences one behind the other
  train.old, train.ref, train.advantage        per scored token, in order
  train.logprob, train.entropy                 of the model, temperature 1 and 0.7 (rows)
  train.loss [2]       of objective 0 (clip-higher with dual clip, token mean) and objective 1 (the same at temperature
                       0.7 + 0.3 * k3 KL to train.ref - 0.1 * entropy)
  train.bf16_error [2] relative distance of all gradients of Transformers in bf16 to those in f32
  grad0.NAME, grad1.NAME   gradients: whole up to 512 elements, else every stride-th, stride = ceil(n / 512);
                           of models in WHOLE all elements for objective 0
  norm0.NAME, norm1.NAME   their euclidean norms
"""
import os
import sys

import torch
import transformers
from safetensors.torch import save_file

WHOLE = {"qwen2-untied-gqa3"}
COMMON = dict(num_hidden_layers=2, max_position_embeddings=1024, bos_token_id=None, eos_token_id=1, pad_token_id=None)
MODELS = {
    "qwen2-tied-gqa1": (transformers.Qwen2Config, dict(vocab_size=160, hidden_size=64, intermediate_size=96, num_attention_heads=4,
                        num_key_value_heads=4, tie_word_embeddings=True, rope_theta=1000000.0)),
    "qwen2-untied-gqa3": (transformers.Qwen2Config, dict(vocab_size=131, hidden_size=48, intermediate_size=72, num_attention_heads=6,
                          num_key_value_heads=2, tie_word_embeddings=False, rope_theta=10000.0)),
    "qwen2-tied-gqa6": (transformers.Qwen2Config, dict(vocab_size=160, hidden_size=96, intermediate_size=100, num_attention_heads=6,
                        num_key_value_heads=1, tie_word_embeddings=True, rope_theta=10000.0)),
    "llama-untied": (transformers.LlamaConfig, dict(vocab_size=160, hidden_size=64, intermediate_size=96, num_attention_heads=4,
                     num_key_value_heads=2, head_dim=32, tie_word_embeddings=False, rope_theta=500000.0, rms_norm_eps=1e-5)),
    "llama-tied-hd64": (transformers.LlamaConfig, dict(vocab_size=160, hidden_size=192, intermediate_size=96, num_attention_heads=3,
                        num_key_value_heads=1, tie_word_embeddings=True, rope_theta=100000.0, rms_norm_eps=1e-5, num_hidden_layers=1)),
}
ROWS = [0, 1, 2, 15, 16, 30, 31, 32, 33, 63, 64, 100, 127, 128, 255, 256, 333, 400, 480, 510, 511]
LENGTHS, PROMPTS = [40, 65, 9, 32, 97, 2], [8, 33, 1, 31, 20, 1]


def make(name, seed):
    kind, options = MODELS[name]
    config = kind(**{**COMMON, **options})
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = (transformers.Qwen2ForCausalLM if kind is transformers.Qwen2Config else transformers.LlamaForCausalLM)(config)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if key.endswith("norm.weight"):
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif key.endswith("bias"):
                p.copy_(0.3 * torch.randn_like(p))
            elif "embed" in key:
                p.copy_((0.15 if config.tie_word_embeddings else 1.0) * torch.randn_like(p))
            else:
                p.copy_(1.5 * torch.randn_like(p) / p.shape[1] ** 0.5)
            p.copy_(p.bfloat16().float())
    return model


def scored(model, tokens, temperature):
    """logprob and entropy of each scored token, all sequences one behind the other."""
    logprobs, entropies, at = [], [], 0
    for n, p in zip(LENGTHS, PROMPTS):
        ids = tokens[at:at + n]
        at += n
        logits = model(ids[None]).logits[0, p - 1:n - 1].float() / temperature
        lp = torch.log_softmax(logits, -1)
        logprobs.append(lp.gather(1, ids[p:n, None])[:, 0])
        entropies.append(-(lp.exp() * lp).sum(-1))
    return torch.cat(logprobs), torch.cat(entropies)


def loss_of(model, tokens, old, ref, advantage, objective):
    lp, entropy = scored(model, tokens, 1.0 if objective == 0 else 0.7)
    ratio = torch.exp(lp - old)
    loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - 0.2, 1 + 0.28))
    loss = torch.where(advantage < 0, torch.minimum(loss, -advantage * 10.0), loss)
    if objective == 1:
        loss = loss + 0.3 * (torch.exp(ref - lp) - (ref - lp) - 1) - 0.1 * entropy
    return loss.mean()


def gradients(model, *args):
    model.zero_grad()
    loss = loss_of(model, *args)
    loss.backward()
    return loss.item(), {k: p.grad.float().clone() for k, p in model.named_parameters()}


def golden(name, model, seed):
    g = torch.Generator().manual_seed(seed)
    vocab = model.config.vocab_size
    tokens = torch.randint(0, vocab, (512,), generator=g)
    train = torch.randint(0, vocab, (sum(LENGTHS),), generator=g)
    half = make(name, seed).bfloat16()
    out = {"tokens": tokens.float(), "rows": torch.tensor(ROWS).float()}
    with torch.no_grad():
        logits = model(tokens[None]).logits[0, ROWS]
        error = (half(tokens[None]).logits[0, ROWS].float() - logits)
        lp1, h1 = scored(model, train, 1.0)
        lp2, h2 = scored(model, train, 0.7)
    out["logits"] = logits
    out["bf16_error"] = torch.stack([error.abs().max(), error.pow(2).mean().sqrt()])
    n = lp1.numel()
    # Some ratios inside the clip range, some above, some below, one far out for the dual clip.
    old = lp1 + 0.25 * torch.randn(n, generator=g)
    advantage = torch.randn(n, generator=g)
    old[5], advantage[5] = lp1[5] - 3.0, -1.5
    ref = lp2 + 0.3 * torch.randn(n, generator=g)
    out.update({"train.lengths": torch.tensor(LENGTHS).float(), "train.prompts": torch.tensor(PROMPTS).float(),
                "train.tokens": train.float(), "train.old": old, "train.ref": ref, "train.advantage": advantage,
                "train.logprob": torch.stack([lp1, lp2]), "train.entropy": torch.stack([h1, h2])})
    losses, errors = [], []
    for objective in (0, 1):
        loss, exact = gradients(model, train, old, ref, advantage, objective)
        _, rounded = gradients(half, train, old, ref, advantage, objective)
        errors.append((sum((exact[k] - rounded[k]).pow(2).sum() for k in exact) / sum(exact[k].pow(2).sum() for k in exact)).sqrt())
        losses.append(loss)
        for key, value in exact.items():
            flat = value.flatten()
            stride = 1 if objective == 0 and name in WHOLE else -(-flat.numel() // 512)
            out[f"grad{objective}.{key}"] = flat[::stride].clone()
            out[f"norm{objective}.{key}"] = flat.norm()[None]
    out["train.loss"] = torch.tensor(losses)
    out["train.bf16_error"] = torch.stack(errors)
    return {k: v.float().contiguous() for k, v in out.items()}


def main():
    top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model")
    torch.set_num_threads(1)
    for seed, name in enumerate(MODELS):
        folder = os.path.join(top, name)
        model = make(name, seed)
        tensors = golden(name, model, seed)
        model.bfloat16().save_pretrained(folder)
        save_file(tensors, os.path.join(folder, "golden.safetensors"))
        print(name, sum(p.numel() for p in model.parameters()), "parameters, bf16 error", tensors["bf16_error"].tolist(),
              tensors["train.bf16_error"].tolist(), "largest logit", tensors["logits"].abs().max().item(), file=sys.stderr)


if __name__ == "__main__":
    main()
