#!/usr/bin/env python3
"""Writes eval.jsonl (verified rollouts of three made-up benchmarks, shuffled, as jrl-pack reads them; judged by two rules and a model),
eval-other.jsonl (another policy on the same problems) and eval.json (what jrl-eval --json --by source --by extra.level --compare
other.jrl must say of them), by numpy 2.4.6 and mpmath 1.3.0, independently of our code."""
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
rng = np.random.default_rng(12) # of what was added later, so that the numbers above stay

# Words of few kinds, so that 4-grams repeat; every kind of white space between them, and what only looks like it.
WORDS, ODDS = ["so", "the", "5", "\u00e9t\u00e9", "x\u200by", "\ufeff", "7\u0000", "\u30a0"], [0.5, 0.2, 0.2, 0.02, 0.02, 0.02, 0.02, 0.02]
SPACES = [" ", "  ", "\n\n", "\t", "\u00a0", "\u3000", "\u2003 ", "\u001c", "\u0085", "\r\n", "\u205f", "\u1680"]


def response():
    words = [str(rng.choice(WORDS, p=ODDS)) for _ in range(int(rng.integers(0, 40)))]
    text = "".join(w + str(rng.choice(SPACES)) for w in words)
    return text + str(rng.choice(["", "\\boxed{5}", " boxed", "\\box{5}", "Boxed"], p=[0.2, 0.5, 0.1, 0.1, 0.1]))


for r in records:
    r["text"] = response() if r["source"] != "beta" or r["uid"] else "so " * (r["sample"] % 4) # one problem without 4-grams
    # A judge after the rules: some of what is right it found, of the rest it was asked about most.
    r["rule_correct"] = bool(r["correct"] and rng.uniform() < 0.8)
    r["judge_verdict"] = None
    if r["correct"] and not r["rule_correct"]:
        r["judge_verdict"], r["judge_correct"] = "A", True
    elif not r["correct"] and rng.uniform() < 0.9:
        r["judge_verdict"], r["judge_correct"] = str(rng.choice(["B", "C", "A.", "", "CORRECT"], p=[0.6, 0.2, 0.1, 0.05, 0.05])), False
    for rule, agreement in (("polaris", 0.9), ("exact", 0.7)):
        r[rule + ".correct"] = bool(r["rule_correct"] if rng.uniform() < agreement else not r["rule_correct"])

others = []
for source, n_problems, n in (("alpha", 7, 3), ("beta", 12, 4), ("gamma", 5, 6)):
    for p in range(n_problems):
        skill = rng.choice([0.0, 1.0, rng.uniform()], p=[0.2, 0.1, 0.7])
        for sample in range(n):
            others.append({"uid": p, "source": source, "sample": sample, "samples": n, "correct": bool(rng.uniform() < skill), "verifier": "dapo"})
others = [others[i] for i in rng.permutation(len(others))]


def interval(value, se, dof, least=0.0):
    reach = student(0.95, dof) * se if se > 0 else 0.0
    return max(least, value - reach), min(1.0, value + reach)


def estimate(row, name, x, k=None, least=0.0):
    value, se = float(np.mean(x)), float(np.std(x, ddof=1) / np.sqrt(len(x)))
    low, high = interval(value, se, len(x) - 1, least)
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


def share(group, key="correct"):
    return float(np.mean([r[key] for r in group]))


def distinct_4gram(group):
    grams = [tuple(words[i:i + 4]) for words in (r["text"].split() for r in group) for i in range(len(words) - 3)]
    return len(set(grams)) / len(grams) if grams else 0.0


def judged(groups, members):
    row, wrong = {}, [r for r in members if not r["correct"]]
    estimate(row, "rule_avg", [share(g, "rule_correct") for g in groups])
    letter = lambda *letters: sum(r["judge_verdict"] in letters for r in wrong)
    row.update(by_rule=sum(r["rule_correct"] for r in members), by_judge=sum(r["correct"] and not r["rule_correct"] for r in members),
               rejected=sum(r["judge_verdict"] is not None for r in wrong), incorrect=letter("B"), invalid=letter("C"),
               other=letter("A.", "", "CORRECT"), not_asked=letter(None))
    return row


def agreement(groups, members, key):
    row, pairs = {}, [(r["rule_correct"], r[key]) for r in members]
    estimate(row, "avg", [share(g, key) for g in groups])
    estimate(row, "first_avg", [share(g, "rule_correct") for g in groups])
    row.update(both=pairs.count((True, True)), first_only=pairs.count((True, False)), second_only=pairs.count((False, True)),
               neither=pairs.count((False, False)))
    return row


def versus(groups):
    row, ours = {}, [share(g) for g in groups]
    theirs = [share([o for o in others if (o["source"], o["uid"]) == (g[0]["source"], g[0]["uid"])]) for g in groups]
    difference = [a - b for a, b in zip(ours, theirs)]
    estimate(row, "avg", theirs)
    estimate(row, "difference", difference, least=-1.0)
    row.update(better=sum(d > 0 for d in difference), equal=sum(d == 0 for d in difference), worse=sum(d < 0 for d in difference))
    return row


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
    shares = [share(g) for g in groups]
    estimate(row, "best", [float(any(r["correct"] for r in g)) for g in groups])
    row.update(solve_none=shares.count(0.0), solve_all=shares.count(1.0), distinct_4gram=float(np.mean([distinct_4gram(g) for g in groups])),
               distinct_4gram_sampling=1, format_errors=sum("boxed" not in r["text"] for r in members), judge=judged(groups, members),
               also={rule: agreement(groups, members, rule + ".correct") for rule in ("exact", "polaris")}, compare=versus(groups))
    return row


COUNTS = ("problems", "rollouts", "solve_none", "solve_all", "format_errors", "by_rule", "by_judge", "rejected", "incorrect", "invalid", "other",
          "not_asked", "both", "first_only", "second_only", "neither", "better", "equal", "worse")
ESTIMATES = ("avg", "maj", "best", "rule_avg", "first_avg", "difference")


def mean_estimates(rows, problems, name, out, least=0.0, inner=None):
    """Independent rows: variances add up, the degrees of freedom are those of all problems together."""
    n, at = len(rows), lambda r, key: r[key] if inner is None else r[key][inner]
    value, se = sum(at(r, name) for r in rows) / n, sum(at(r, name + "_stderr") ** 2 for r in rows) ** 0.5 / n
    low, high = interval(value, se, problems - n, least)
    for suffix, number in (("", value), ("_stderr", se), ("_low", low), ("_high", high)):
        if inner is None:
            out[name + suffix] = number
        else:
            out.setdefault(name + suffix, {})[inner] = number


def mean_part(rows, problems):
    out = {k: sum(r[k] for r in rows) for k in COUNTS if k in rows[0]}
    for name in ESTIMATES:
        if name in rows[0]:
            mean_estimates(rows, problems, name, out, -1.0 if name == "difference" else 0.0)
    return out


def mean_row(rows):
    problems = sum(r["problems"] for r in rows)
    out = mean_part(rows, problems)
    out["samples_min"], out["samples_max"] = min(r["samples_min"] for r in rows), max(r["samples_max"] for r in rows)
    out["samples"] = out["samples_min"] if out["samples_min"] == out["samples_max"] else None
    out["distinct_4gram_sampling"] = 1
    for k in ("tokens", "truncated", "answered", "entropy", "reward", "distinct_4gram"):
        out[k] = sum(r[k] for r in rows) / len(rows)
    for k in sorted(set.intersection(*(set(r["pass"]) for r in rows))):
        mean_estimates(rows, problems, "pass", out, inner=k)
    for part in ("judge", "compare"):
        out[part] = mean_part([r[part] for r in rows], problems)
    out["also"] = {rule: mean_part([r["also"][rule] for r in rows], problems) for rule in ("exact", "polaris")}
    return out


by = {"source": {s: row_of([r for r in records if r["source"] == s]) for s in ("alpha", "beta", "gamma")},
      "extra.level": {str(level): row_of([r for r in records if r["extra"]["level"] == level]) for level in (0, 1, 2)}}
expected = {"confidence": 0.95, "verifier": "dapo", "overall": row_of(records), "by": by,
            "mean": {field: mean_row(list(rows.values())) for field, rows in by.items()}, "compare": {"file": "other.jrl", "verifier": "dapo"},
            "also": ["exact", "polaris"]}
for name, rollouts in (("eval", shuffled), ("eval-other", others)):
    with open(f"{folder}/{name}.jsonl", "w") as f:
        for r in rollouts:
            f.write(json.dumps(r, separators=(",", ":")) + "\n")
with open(f"{folder}/eval.json", "w") as f:
    json.dump(expected, f, indent=1)
    f.write("\n")
