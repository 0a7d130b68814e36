#!/usr/bin/env python3
"""Random pairs of expressions without decimals: the verdicts of answer/algebra.h beside SymPy's `simplify(u - v) == 0`.

Half of the pairs are identities that SymPy made by rewriting one side; the others are near misses, other expressions, and
rules that hold on one side of a branch cut only. Where the two differ, the difference is evaluated by SymPy to 60 digits at
points of its own, which says who is right. Prints a summary and every difference; exit code 1 when less than 99.9 % agree
or a difference has no explanation.

Usage: algebra_sympy.py DRIVER [--pairs N] [--jobs N] [--seed N] [--seconds N] [--save FILE]
"""
import argparse
import multiprocessing
import random
import re
import signal
import subprocess
import sys
from collections import Counter

import sympy as sp
from sympy.parsing import sympy_parser

LETTERS = 'abcdeghijkmnqrstuvwxyz'
TRANSFORMATIONS = sympy_parser.standard_transformations + (sympy_parser.implicit_multiplication_application,)


class Unsuitable(Exception):
    """A form that the language or the gate does not have, or one that takes SymPy too long."""


class Writer:
    """An expression in ordinary notation, with the liberties that answers take."""

    def __init__(self, rng):
        self.rng = rng

    def factor(self, e):
        text = self.write(e)
        return text if e.is_Symbol or e == sp.pi or (e.is_Integer and e >= 0) or e.func == sp.log or text.startswith('sqrt(') and self.closes(text) else f'({text})'

    @staticmethod
    def closes(text):
        depth = 0
        for i, c in enumerate(text):
            depth += (c == '(') - (c == ')')
            if depth == 0 and c == ')':
                return i == len(text) - 1
        return False

    def power(self, base, exponent):
        if exponent == sp.Rational(1, 2):
            return f'sqrt({self.write(base)})'
        sign = '^' if exponent.is_Integer and 0 <= exponent <= 9 and self.rng.random() < 0.8 else '**'
        return self.factor(base) + sign + self.factor(exponent)

    def product(self, factors):
        out = ''
        for f in factors:
            text = self.power(*f.as_base_exp()) if f.is_Pow else self.factor(f)
            glued = out and (out[-1].isdigit() or out[-1] == ')') and (text[0].isalpha() or text[0] == '(') and '**' not in out and '^' not in out
            out += ('' if not out or (glued and self.rng.random() < 0.7) else '*') + text
        return out

    def write(self, e):
        if e.is_Symbol:
            return e.name
        if e == sp.pi:
            return 'pi'
        if e == sp.I:
            return '1j'
        if e.is_Rational:
            return str(e)
        if e.func == sp.log:
            return f'ln({self.write(e.args[0])})'
        if e.is_Add:
            terms = list(e.args)
            self.rng.shuffle(terms)
            out = self.write(terms[0])
            for t in terms[1:]:
                out += '-' + self.write(-t) if t.could_extract_minus_sign() and not (-t).is_Add else '+' + self.write(t) if not t.is_Add else f'+({self.write(t)})'
            return out
        if e.is_Mul:
            if e.could_extract_minus_sign() and e.args[0].is_Number and not (-e).is_Add:
                return '-' + self.write(-e) if (-e).is_Mul or (-e).is_Symbol or (-e).is_Pow else f'-({self.write(-e)})'
            above, below = [], []
            for f in e.args:
                if f.is_Pow and f.exp.is_number and f.exp.is_negative:
                    below.append(1 / f)
                elif f.is_Rational and not f.is_Integer:
                    above += [] if abs(f.p) == 1 and f.p > 0 else [sp.Integer(f.p)]
                    below.append(sp.Integer(f.q))
                else:
                    above.append(f)
            text = self.product(above) if above else '1'
            return f'{text}/({self.product(below)})' if below else text
        if e.is_Pow:
            if e.exp.is_number and e.exp.is_negative:
                return f'1/{self.factor(1 / e)}' if not (1 / e).is_Pow else f'1/({self.write(1 / e)})'
            return self.power(e.base, e.exp)
        raise Unsuitable


def passes_gate(text):
    letters = {c for c in text.replace('sqrt', '').replace('frac', '') if c.isalpha()}
    return len(letters) <= 2 and not re.search(r'\^[{(]|\^[0-9]+\^|\^[0-9][0-9]', text)


def number(rng):
    n = rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 18, 20, 24, 27, 32, 36, 45, 50, 72, 75, 98, 100, 144])
    return sp.Integer(n) if rng.random() < 0.75 else sp.Rational(n, rng.choice([2, 3, 4, 5, 7, 8, 9]))


def tree(rng, leaves, depth, functions):
    """A random expression; LEAVES are its symbols or constants, FUNCTIONS what may stand over an operand."""
    kind = rng.random()
    if depth == 0 or kind < 0.12:
        return rng.choice(leaves) if leaves and rng.random() < 0.6 else number(rng) * rng.choice([1, 1, 1, -1])
    a = tree(rng, leaves, depth - 1, functions)
    if kind < 0.45:
        return a + tree(rng, leaves, depth - 1, functions) * rng.choice([1, 1, -1])
    if kind < 0.68:
        return a * tree(rng, leaves, depth - 1, functions)
    if kind < 0.80:
        return a / tree(rng, leaves, depth - 1, functions)
    if kind < 0.90:
        return a ** rng.choice([2, 2, 2, 3, -1, -2])
    if not functions:
        return a
    f = rng.choice(functions)
    return f(tree(rng, leaves, min(depth - 1, 1), []))


REWRITINGS = [sp.expand, sp.factor, sp.together, sp.cancel, sp.radsimp, sp.nsimplify, sp.powsimp, sp.expand_log, sp.logcombine, sp.sqrtdenest,
              sp.simplify, lambda e: sp.expand(sp.together(e)), lambda e: sp.radsimp(sp.together(e)), sp.expand_mul]


def nudge(rng, e):
    """E with one of its numbers changed, or a sign."""
    numbers = [n for n in sp.preorder_traversal(e) if n.is_Rational and n not in (sp.Rational(1, 2), -1)]
    if not numbers or rng.random() < 0.2:
        return e + rng.choice([1, -1, sp.Rational(1, 1000), e])
    n = rng.choice(numbers)
    return e.xreplace({n: n + rng.choice([1, -1, sp.Rational(1, 3)])})


def branches(rng, leaves):
    """Both sides of a rule that principal branches break somewhere, or that they do not."""
    a, b = tree(rng, leaves, 1, []), tree(rng, leaves, 1, [])
    root, log = sp.sqrt, sp.log
    return rng.choice([(root(a ** 2), a), (root(a * b), root(a) * root(b)), (root(a / b), root(a) / root(b)), (log(a * b), log(a) + log(b)),
                       (log(a ** 2), 2 * log(a)), ((a ** 3) ** sp.Rational(1, 3), a), (root(a) ** 2, a), (log(root(a)), log(a) / 2), (1 / root(a), root(1 / a)),
                       (root(4 * a), 2 * root(a)), (root(a) * root(a) ** 3, a ** 2), (root(-a), sp.I * root(a))])


def make_pair(rng):
    world = rng.random()
    if world < 0.30:
        leaves, functions = [], [sp.sqrt]
    elif world < 0.42:
        leaves, functions = [sp.pi], [sp.sqrt]
    elif world < 0.54:
        leaves, functions = [sp.log(n) for n in (2, 3, 6, 8, 9, 12)], [sp.sqrt, sp.log]
    else:
        leaves, functions = [sp.Symbol(c) for c in rng.sample(LETTERS, rng.choice([1, 1, 2]))], [sp.sqrt]
    e = tree(rng, leaves, rng.choice([2, 3, 3, 4]), functions)
    kind = rng.random()
    if kind < 0.53:
        f = rng.choice(REWRITINGS)(e)
    elif kind < 0.76:
        f = nudge(rng, rng.choice(REWRITINGS)(e))
    elif kind < 0.81:
        e, f = branches(rng, leaves)
    else:
        f = tree(rng, leaves, 3, functions)
    writer = Writer(rng)
    if e.has(sp.zoo, sp.nan, sp.oo) or f.has(sp.zoo, sp.nan, sp.oo):
        raise Unsuitable
    u, v = writer.write(e), writer.write(f)
    if u == v or len(u) + len(v) > 200 or not passes_gate(f'({u})-({v})') or re.fullmatch(r'-?[0-9/]+', u + v):
        raise Unsuitable
    return u, v


def parse_difference(u, v):
    return sympy_parser.parse_expr(f'({u})-({v})'.replace('^', '**'), transformations=TRANSFORMATIONS)


def out_of_time(*_):
    raise TimeoutError


def limit_cpu(seconds):
    """TimeoutError after so many seconds of this process's own time; 0: never."""
    signal.signal(signal.SIGVTALRM, out_of_time)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)


def one_pair(job):
    """(u, v, SymPy's verdict), or None and the reason."""
    seed, seconds = job
    limit_cpu(seconds)
    try:
        u, v = make_pair(random.Random(seed))
        return u, v, bool(sp.simplify(parse_difference(u, v)) == 0)
    except TimeoutError:
        return None, 'SymPy did not finish', None
    except (Unsuitable, ZeroDivisionError):
        return None, 'not a pair', None
    except Exception as error:  # SymPy's own failures, named in the summary
        return None, f'SymPy failed: {type(error).__name__}', None
    finally:
        limit_cpu(0)


def magnitudes(u, v):
    """The absolute value of the difference, to 60 digits, at points of every size and direction, on the real axis too."""
    d = parse_difference(u, v)
    rng, out = random.Random(u + v), []
    for i in range(150 if d.free_symbols else 1):
        size = sp.Rational(10) ** rng.choice([-1, 0, 0, 1, 1, 3])
        point = {s: size * (sp.Rational(rng.randint(-3000, 3000), 1009) + sp.I * sp.Rational(rng.randint(-3000, 3000), 1013) * (i % 2))
                 for s in d.free_symbols}
        out.append(abs(complex(d.subs(point).evalf(60, maxn=400))))
    return out


def explain(u, v, ours, theirs):
    limit_cpu(60)
    try:
        sizes = magnitudes(u, v)
    except Exception as error:
        return f'unexplained ({type(error).__name__})'
    finally:
        limit_cpu(0)
    if ours == 'equal' and not theirs and max(sizes) < 1e-50:
        return 'zero to 60 digits everywhere: SymPy could not simplify it'
    if ours == 'different' and theirs and max(sizes) > 1e-30:
        return f'not zero at one of 150 points ({max(sizes):.3g}): SymPy crossed a branch cut'
    return f'unexplained (magnitudes {min(sizes):.3g} to {max(sizes):.3g})'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('driver')
    parser.add_argument('--pairs', type=int, default=10000)
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--seconds', type=int, default=10, help='of processor time for SymPy, a pair')
    parser.add_argument('--save', help='write the pairs and SymPy\'s verdicts there')
    args = parser.parse_args()

    pairs, left_out = {}, Counter()
    with multiprocessing.Pool(args.jobs, maxtasksperchild=2000) as pool:
        seeds = ((args.seed * 10 ** 9 + i, args.seconds) for i in range(100 * args.pairs))
        for u, v, verdict in pool.imap_unordered(one_pair, seeds, chunksize=20):
            if u is None:
                left_out[v] += 1
            else:
                pairs[u, v] = verdict
            if len(pairs) == args.pairs:
                break
        pool.terminate()

    listed = sorted(pairs)
    if args.save:
        with open(args.save, 'w', encoding='utf-8') as out:
            out.writelines(f'{u}\t{v}\t{"equal" if pairs[u, v] else "not"}\n' for u, v in listed)
    run = subprocess.run([args.driver], input=''.join(f'{u}\t{v}\n' for u, v in listed), capture_output=True, text=True, check=True)
    verdicts = dict(zip(listed, run.stdout.split('\n')))
    different = [p for p in listed if (verdicts[p] == 'equal') != pairs[p]]
    unexplained = 0
    for u, v in different:
        why = explain(u, v, verdicts[u, v], pairs[u, v])
        unexplained += why.startswith('unexplained')
        print(f'difference: {u}   and   {v}: ours {verdicts[u, v]}, SymPy {"equal" if pairs[u, v] else "not"}: {why}')
    agreement = 1 - len(different) / len(listed)
    print(f'SymPy {sp.__version__}: {len(listed)} pairs, {sum(pairs.values())} equal for SymPy; ours: {dict(Counter(verdicts[p] for p in listed))}; '
          f'agreement {100 * agreement:.3f} %, {len(different)} differences, {unexplained} unexplained; left out: {dict(left_out)}')
    sys.exit(agreement < 0.999 or unexplained > 0)


if __name__ == '__main__':
    main()
