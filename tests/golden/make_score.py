#!/usr/bin/env python3
"""Writes score.txt: pass@k from exact binomial coefficients, Student quantiles from mpmath 1.3.0, the majority's
verdict by counting, and means with intervals (numpy 2.4.6).

pass N C K VALUE / student CONFIDENCE DOF T / majority CORRECT N, then N pairs answer correct (answer 0: none) /
mean CONFIDENCE N VALUE STDERR LOW HIGH, then N numbers."""
import sys
from fractions import Fraction
from math import comb
import mpmath
import numpy as np

rng = np.random.default_rng(4)


def student(confidence, dof):
    mpmath.mp.dps = 30
    tail = mpmath.mpf(1) - mpmath.mpf(confidence)
    f = lambda t: mpmath.betainc(mpmath.mpf(dof) / 2, 0.5, 0, dof / (dof + t * t), regularized=True) - tail
    return float(mpmath.findroot(f, (0.5, 3.0), solver="anderson", tol=1e-24, maxsteps=200))


def majority(votes):
    counts = {}
    for i, (answer, correct) in enumerate(votes):
        if answer:
            counts.setdefault(answer, []).append(i)
    if not counts:
        return 0
    best = max(counts.values(), key=lambda v: (len(v), -v[0]))
    return votes[best[0]][1]


with open(sys.argv[1] if len(sys.argv) > 1 else "score.txt", "w") as out:
    for n in (1, 2, 4, 7, 32, 200):
        for c in sorted({0, 1, n // 2, n - 1, n}):
            for k in sorted({1, 2, n // 2, n} - {0}):
                if k <= n:
                    out.write("pass %d %d %d %r\n" % (n, c, k, float(1 - Fraction(comb(n - c, k), comb(n, k)))))
    for confidence in (0.5, 0.9, 0.95, 0.99):
        for dof in (1, 2, 5, 29, 499, 100000):
            out.write("student %r %d %r\n" % (confidence, dof, student(confidence, dof)))
    for n in (1, 2, 3, 8, 8, 8, 8, 32, 32):
        votes = [(int(a), int(rng.integers(2))) for a in rng.integers(0, 4, n)]
        out.write("majority %d %d" % (majority(votes), n) + "".join(" %d %d" % v for v in votes) + "\n")
    for confidence in (0.95, 0.8):
        for n in (2, 3, 30, 500):
            x = rng.integers(0, 9, n) / 8
            se = np.std(x, ddof=1) / np.sqrt(n)
            t = student(confidence, n - 1)
            low, high = max(0, x.mean() - t * se), min(1, x.mean() + t * se)
            out.write("mean %r %d %r %r %r %r " % (confidence, n, float(x.mean()), float(se), float(low), float(high)))
            out.write(" ".join(repr(float(v)) for v in x) + "\n")
