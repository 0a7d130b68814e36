#!/usr/bin/env python3
"""Writes importance.json: random tokens whose sampler gave other logprobs than the trainer, and what truncated importance
sampling makes of them.

The formula is that of verl's compute_policy_loss (core_algos, tis_imp_ratio_cap, pull request 2953), in double precision and
plain Python; gradients are central differences of the loss with the weights held fixed. Nothing is shared with libcommon/learn.

Usage: make_importance.py > importance.json
"""
import ctypes
import json
import random
from math import exp

random.seed(20261126)


def f32(x):
    return float(f"{ctypes.c_float(x).value:.9g}")


def token_loss(case, t, new, weight):
    ratio = exp(new - t["old"])
    low, high = 1 - case["clip_low"], 1 + case["clip_high"]
    loss = max(-t["advantage"] * ratio, -t["advantage"] * min(max(ratio, low), high))
    if t["advantage"] < 0:
        loss = min(loss, -t["advantage"] * case["dual_clip"])
    d = t["ref"] - new
    return weight * loss + case["kl_coef"] * (exp(d) - d - 1) - case["entropy_coef"] * t["entropy"]


def make_case(n, spread, **case):
    tokens = []
    for _ in range(n):
        old = f32(-random.expovariate(1))
        tokens.append({
            "advantage": random.choice([-1.5, -0.25, 0.0, 0.75, 2.0]), "old": old,
            "sampler": old if random.random() < 0.2 else f32(old + random.gauss(0, spread)),
            "new": f32(old + random.gauss(0, 0.3)), "ref": f32(old + random.gauss(0, 0.3)), "entropy": f32(random.expovariate(1))})
    ratios = [exp(t["old"] - t["sampler"]) for t in tokens]
    weights = [min(r, case["is_cap"]) for r in ratios]
    h = 1e-6
    case["tokens"] = tokens
    case["expect"] = {
        "loss": sum(token_loss(case, t, t["new"], w) for t, w in zip(tokens, weights)) / n,
        "dlogprob": [(token_loss(case, t, t["new"] + h, w) - token_loss(case, t, t["new"] - h, w)) / (2 * h * n)
                     for t, w in zip(tokens, weights)],
        "weight": sum(weights) / n,
        "weight_max": max(weights),
        "capped": sum(r > case["is_cap"] for r in ratios),
        "difference": sum(abs(t["new"] - t["sampler"]) for t in tokens) / n,
        "difference_max": max(abs(t["new"] - t["sampler"]) for t in tokens),
        "different": sum(t["new"] != t["sampler"] for t in tokens),
    }
    return case


recipe = {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 10.0, "kl_coef": 0.0, "entropy_coef": 0.0}
cases = [
    make_case(60, 0.05, is_cap=2.0, **recipe),
    make_case(60, 1.0, is_cap=2.0, **recipe),
    make_case(60, 1.0, is_cap=0.5, **{**recipe, "dual_clip": 3.0}),
    make_case(60, 0.7, is_cap=5.0, **{**recipe, "kl_coef": 0.1, "entropy_coef": 0.01}),
    make_case(60, 30.0, is_cap=2.0, **recipe),
]
print("[")
print(",\n".join(json.dumps(c) for c in cases))
print("]")
