#!/usr/bin/env python3
"""Writes objective.json: random responses and what verl's published formulas give for them.

The formulas are those of verl 0.4.0's compute_policy_loss, kl_penalty and agg_loss (core_algos) and of the
per-micro-batch weighting in dp_actor, written again here with numpy (2.4.6) in double precision over padded
matrices and masks, as there; nothing is shared with libcommon/learn.

Usage: make_objective.py > objective.json
"""
import json

import numpy as np

rng = np.random.default_rng(20260211)


def f32(x):
    return np.asarray(x, dtype=np.float32).astype(np.float64)


def masked_mean(x, mask):
    return float((x * mask).sum() / mask.sum())


def policy_loss(old, new, adv, mask, clip_low, clip_high, c):
    """Per-token losses, the fractions that are clipped, the mean log ratio and the ratios."""
    negative_approx_kl = new - old
    ratio = np.exp(negative_approx_kl)
    pg_losses1 = -adv * ratio
    pg_losses2 = -adv * np.clip(ratio, 1 - clip_low, 1 + clip_high)
    clip1 = np.maximum(pg_losses1, pg_losses2)
    clipfrac = masked_mean((pg_losses2 > pg_losses1).astype(float), mask)
    lower, losses = 0.0, clip1
    if c:
        pg_losses3 = -adv * c
        lower = masked_mean(((clip1 > pg_losses3) & (adv < 0)).astype(float), mask)
        losses = np.where(adv < 0, np.minimum(pg_losses3, clip1), clip1)
    return losses, clipfrac, lower, masked_mean(-negative_approx_kl, mask), ratio


def kl_penalty(new, ref, kind):
    if kind == "k1":
        return new - ref
    if kind == "k2":
        return 0.5 * (new - ref) ** 2
    kl = ref - new
    return np.clip(np.exp(kl) - kl - 1, -10, 10)


def aggregate(losses, mask, lengths, case):
    name = case["aggregate"]
    if name == "token-mean":
        return masked_mean(losses, mask)
    if name == "seq-mean-token-sum":
        return float((losses * mask).sum(1).mean())
    if name == "seq-mean-token-mean":
        return float(((losses * mask).sum(1) / mask.sum(1)).mean())
    per_rank = []
    for rank in range(case["ranks"]):
        mine = list(range(len(lengths)))[rank :: case["ranks"]]
        if not mine:
            continue
        micros, used = [[]], 0
        for i in mine:
            if micros[-1] and used + lengths[i] > case["micro_tokens"]:
                micros.append([])
                used = 0
            micros[-1].append(i)
            used += lengths[i]
        per_rank.append(sum(len(m) / len(mine) * masked_mean(losses[m], mask[m]) for m in micros))
    return float(np.mean(per_rank))


def make_case(**case):
    n, width, spread = case.pop("n"), case.pop("width"), case.pop("spread")
    lengths = rng.integers(1, width + 1, n)
    prompts = rng.integers(1, 40, n)
    mask = (np.arange(width)[None, :] < lengths[:, None]).astype(float)
    old = f32(-rng.exponential(1.0, (n, width)))
    new = f32(old + rng.normal(0, spread, (n, width)))
    ref = f32(old + rng.normal(0, 2 * spread, (n, width)))
    entropy = f32(rng.exponential(1.0, (n, width)))
    adv = f32(rng.normal(0, 1, n))
    adv[rng.random(n) < 0.1] = 0
    padded = np.repeat(adv[:, None], width, 1)
    losses, clipfrac, lower, kl_old, ratio = policy_loss(
        old, new, padded, mask, case["clip_low"], case["clip_high"], case["dual_clip"]
    )
    kl = kl_penalty(new, ref, case["kl"])
    total = losses + case["kl_coef"] * kl - case["entropy_coef"] * entropy
    below = (padded < 0) & (ratio < 1 - case["clip_low"])
    above = (padded > 0) & (ratio > 1 + case["clip_high"])
    columns = (("old", old), ("new", new), ("ref", ref), ("entropy", entropy))
    case["responses"] = [
        {"n_prompt": int(prompts[i]), "advantage": float(adv[i]),
         **{k: [float(f"{x:.9g}") for x in v[i, : lengths[i]]] for k, v in columns}}
        for i in range(n)
    ]
    case["expect"] = {
        "loss": aggregate(total, mask, prompts + lengths, case),
        "nll": aggregate(-new, mask, prompts + lengths, case),
        "clip": clipfrac,
        "clip_low": masked_mean(below.astype(float), mask),
        "clip_high": masked_mean(above.astype(float), mask),
        "clip_dual": lower,
        "kl_old": kl_old,
        "kl_old_k3": masked_mean(ratio - 1 - (new - old), mask),
        "kl_ref": masked_mean(kl, mask),
        "ratio": masked_mean(ratio, mask),
        "ratio_max": float(np.where(mask > 0, ratio, -1).max()),
        "entropy": masked_mean(entropy, mask),
    }
    return case


base = {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 10.0, "kl": "k3", "kl_coef": 0.0, "entropy_coef": 0.0,
        "aggregate": "token-mean", "ranks": 1, "micro_tokens": 1, "n": 9, "width": 12, "spread": 0.3}
cases = [
    make_case(**base),
    make_case(**{**base, "spread": 1.5}),
    make_case(**{**base, "spread": 1.2, "dual_clip": 3.0, "clip_high": 0.2}),
    make_case(**{**base, "dual_clip": 0.0, "kl": "k1", "kl_coef": 0.05}),
    make_case(**{**base, "kl": "k2", "kl_coef": 0.01, "entropy_coef": 0.001}),
    make_case(**{**base, "kl": "k3", "kl_coef": 0.02, "spread": 0.9, "aggregate": "seq-mean-token-mean"}),
    make_case(**{**base, "aggregate": "seq-mean-token-mean", "entropy_coef": 0.003}),
    make_case(**{**base, "aggregate": "seq-mean-token-sum"}),
    make_case(**{**base, "aggregate": "verl-micro", "ranks": 1, "micro_tokens": 60}),
    make_case(**{**base, "aggregate": "verl-micro", "ranks": 3, "micro_tokens": 70, "n": 17}),
    make_case(**{**base, "aggregate": "verl-micro", "ranks": 4, "micro_tokens": 5, "n": 3}),
]
print("[")
print(",\n".join(json.dumps(c) for c in cases))
print("]")
