#!/usr/bin/env python3
"""Writes advantage.txt: random groups of rewards and their advantages by the formulas verl 0.4 publishes
(core_algos: grpo, grpo without the deviation, rloo, reinforce++-baseline with masked whitening over tokens), written
here anew with numpy 2.4.6 in float64. `whiten rollouts` is the same with every rollout counted once.

case ESTIMATOR EPSILON WHITEN N_GROUPS / group N / N lines: reward, response tokens, advantage."""
import sys
import numpy as np

rng = np.random.default_rng(20250711)


def grpo(r, eps):
    mean, std = (0.0, 1.0) if len(r) == 1 else (np.mean(r), np.std(r, ddof=1))
    return (r - mean) / (std + eps)


def dr_grpo(r, eps):
    return r - (0.0 if len(r) == 1 else np.mean(r))


def rloo(r, eps):
    n = len(r)
    return r if n == 1 else np.array([r[i] - np.mean(np.delete(r, i)) for i in range(n)])


def masked_whiten(values, mask, eps):
    """verl_F.masked_whiten: mean and Bessel-corrected variance over the unmasked tokens."""
    n = mask.sum()
    mean = (values * mask).sum() / n
    variance = (((values - mean) ** 2) * mask).sum() / n * n / (n - 1)
    return (values - mean) / np.sqrt(variance + eps) * mask


def reinforce_baseline(groups, lengths, eps, whiten):
    centred = np.concatenate([dr_grpo(g, 0) for g in groups])
    n_tokens = np.concatenate(lengths)
    if whiten == "rollouts":
        n_tokens = np.ones_like(n_tokens)
    mask = np.arange(n_tokens.max())[None, :] < n_tokens[:, None]
    per_token = masked_whiten(np.where(mask, centred[:, None], 0.0), mask, eps)
    return np.split(per_token[:, 0], np.cumsum([len(g) for g in groups])[:-1])


def rewards(n):
    kind = rng.integers(5)
    if kind == 0:
        return rng.choice([-1.0, 1.0], n)
    if kind == 1:
        return rng.choice([0.0, 1.0], n)
    if kind == 2:
        return np.full(n, rng.choice([-1.0, 1.0, 0.1]))
    if kind == 3:
        return rng.normal(size=n)
    return rng.choice([-1.0, 1.0], n) - rng.uniform(0, 1, n)


def write(out, estimator, eps, whiten, groups, lengths, advantages):
    out.write(f"case {estimator} {eps!r} {whiten} {len(groups)}\n")
    for r, t, a in zip(groups, lengths, advantages):
        out.write(f"group {len(r)}\n")
        for x in zip(r, t, a):
            out.write("%r %d %r\n" % (float(x[0]), x[1], float(x[2])))


with open(sys.argv[1] if len(sys.argv) > 1 else "advantage.txt", "w") as out:
    for name, formula, epsilons in (("grpo", grpo, (1e-6, 1e-8)), ("dr-grpo", dr_grpo, (0.0,)), ("rloo", rloo, (0.0,))):
        for eps in epsilons:
            groups = [rewards(n) for n in [1, 2, 3, 8, 8, 8, 16, 33]]
            lengths = [rng.integers(1, 50, len(g)) for g in groups]
            write(out, name, eps, "none", groups, lengths, [formula(g, eps) for g in groups])
    for whiten in ("rollouts", "tokens"):
        for sizes in ([8] * 12, [1, 2, 5, 16, 8]):
            groups = [rewards(n) for n in sizes]
            lengths = [rng.integers(1, 50, len(g)) for g in groups]
            write(out, "reinforce++-baseline", 1e-8, whiten, groups, lengths,
                  reinforce_baseline(groups, lengths, 1e-8, whiten))
