#!/usr/bin/env python3
"""Writes eval.jsonl (verified rollouts of three made-up benchmarks, shuffled, as jrl-pack reads them) and eval.json (what
jrl-eval --json --by source --by extra.level must say of them), by numpy 2.4.6 and mpmath 1.3.0, independently of our code."""
import json
import sys
from math import comb
import mpmath
import numpy as np

rng = np.random.default_rng(11)
folder = sys.argv[1] if len(sys.argv) > 1 else "."
mpmath.mp.dps = 30


def student(confidence, dof):
    tail = mpmath.mpf(1) - mpmath.mpf(confidence)
    f = lambda t: mpmath.betainc(mpmath.mpf(dof) / 2, 0.5, 0, dof / (dof + t * t), regularized=True) - tail
    return float(mpmath.findroot(f, (0.5, 3.0), solver="anderson", tol=1e-24, maxsteps=200))


records = []
for source, n_problems, n in (("alpha", 7, 8), ("beta", 12, 4), ("gamma", 5, 6)):
    for p in range(n_problems):
        skill = rng.choice([0.0, 1.0, rng.uniform()], p=[0.15, 0.15, 0.7])
        for sample in range(n):
            right = rng.uniform() < skill
            pred = "5" if right else rng.choice([None, "6", "7", "8"])
            records.append({
                "uid": p, "source": source, "problem": "?", "prompt": "?", "answer": "5", "extra": {"level": int(p % 3)},
                "sample": sample, "samples": n, "tokens": {"$u32": [1] * int(rng.integers(1, 40))},
                "finish": "stop" if rng.uniform() < 0.8 else "length", "text": "", "entropy_mean": round(float(rng.uniform()), 6),
                "reward": 1.0 if right else -1.0, "correct": bool(right), "pred": None if pred is None else str(pred), "verifier": "dapo"})
shuffled = [records[i] for i in rng.permutation(len(records))]


def interval(value, se, dof):
    reach = student(0.95, dof) * se if se > 0 else 0.0
    return max(0.0, value - reach), min(1.0, value + reach)


def estimate(row, name, x, k=None):
    value, se = float(np.mean(x)), float(np.std(x, ddof=1) / np.sqrt(len(x)))
    low, high = interval(value, se, len(x) - 1)
    for suffix, number in (("", value), ("_stderr", se), ("_low", low), ("_high", high)):
        if k is None:
            row[name + suffix] = number
        else:
            row.setdefault(name + suffix, {})[str(k)] = number


def majority(group):
    votes = {}
    for r in group:
        if r["pred"] is not None:
            votes.setdefault(r["pred"], []).append(r)
    return bool(votes) and max(votes.values(), key=lambda v: (len(v), -v[0]["sample"]))[0]["correct"]


def row_of(members):
    groups = {}
    for r in members:
        groups.setdefault((r["source"], r["uid"]), []).append(r)
    groups = [sorted(g, key=lambda r: r["sample"]) for g in groups.values()]
    sizes = [len(g) for g in groups]
    row = {"problems": len(groups), "rollouts": len(members), "samples": sizes[0] if min(sizes) == max(sizes) else None,
           "samples_min": min(sizes), "samples_max": max(sizes)}
    estimate(row, "avg", [np.mean([r["correct"] for r in g]) for g in groups])
    estimate(row, "maj", [float(majority(g)) for g in groups])
    k = 1
    while k <= min(sizes):
        estimate(row, "pass", [1 - comb(len(g) - sum(r["correct"] for r in g), k) / comb(len(g), k) for g in groups], k)
        k *= 2
    mean = lambda f: float(np.mean([f(r) for r in members]))
    row.update(tokens=mean(lambda r: len(r["tokens"]["$u32"])), truncated=mean(lambda r: r["finish"] == "length"),
               answered=mean(lambda r: r["pred"] is not None), entropy=mean(lambda r: r["entropy_mean"]), reward=mean(lambda r: r["reward"]))
    return row


def mean_row(rows):
    n = len(rows)
    dof = sum(r["problems"] for r in rows) - n
    out = {k: sum(r[k] for r in rows) for k in ("problems", "rollouts")}
    out["samples_min"], out["samples_max"] = min(r["samples_min"] for r in rows), max(r["samples_max"] for r in rows)
    out["samples"] = out["samples_min"] if out["samples_min"] == out["samples_max"] else None
    for k in ("tokens", "truncated", "answered", "entropy", "reward"):
        out[k] = sum(r[k] for r in rows) / n
    for name in ("avg", "maj"):
        value, se = sum(r[name] for r in rows) / n, sum(r[name + "_stderr"] ** 2 for r in rows) ** 0.5 / n
        low, high = interval(value, se, dof)
        out.update({name: value, name + "_stderr": se, name + "_low": low, name + "_high": high})
    for k in set.intersection(*(set(r["pass"]) for r in rows)):
        value, se = sum(r["pass"][k] for r in rows) / n, sum(r["pass_stderr"][k] ** 2 for r in rows) ** 0.5 / n
        low, high = interval(value, se, dof)
        for suffix, number in (("", value), ("_stderr", se), ("_low", low), ("_high", high)):
            out.setdefault("pass" + suffix, {})[k] = number
    return out


by = {"source": {s: row_of([r for r in records if r["source"] == s]) for s in ("alpha", "beta", "gamma")},
      "extra.level": {str(level): row_of([r for r in records if r["extra"]["level"] == level]) for level in (0, 1, 2)}}
expected = {"confidence": 0.95, "verifier": "dapo", "overall": row_of(records), "by": by,
            "mean": {field: mean_row(list(rows.values())) for field, rows in by.items()}}
with open(f"{folder}/eval.jsonl", "w") as f:
    for r in shuffled:
        f.write(json.dumps(r, separators=(",", ":")) + "\n")
with open(f"{folder}/eval.json", "w") as f:
    json.dump(expected, f, indent=1)
    f.write("\n")
