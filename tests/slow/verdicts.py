#!/usr/bin/env python3
"""Compares the rules for answers with their executable reference on made-up inputs: verdicts.py PROGRAM REFERENCE [N [SEED]]

PROGRAM is build/release/tests/slow/verdicts, REFERENCE the folder with proto.py and public.jsonl. N inputs of each kind:
the two normal forms of texts, and verdicts of each rule. Inputs are pieces of the vectors, of LaTeX and of Unicode, cut
and glued at random. Prints every difference; exit 1 when there is one."""
import contextlib
import glob
import io
import json
import random
import signal
import subprocess
import sys

program, reference = sys.argv[1:3]
n_inputs = int(sys.argv[3]) if len(sys.argv) > 3 else 10000
rng = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
sys.path.insert(0, reference)
import proto
sys.argv = sys.argv[:1]
with contextlib.redirect_stdout(io.StringIO()):
    import proto_all

vectors = [json.loads(line) for line in open(reference + '/public.jsonl', encoding='utf-8')]
texts = {str(t) for v in vectors for t in (v['expected']['pred'], v['ground_truth']) if t is not None and len(str(t)) < 80}
for path in glob.glob(reference + '/../data/benchmarks/*.jsonl'):
    rows = [json.loads(line) for line in open(path, encoding='utf-8')]
    texts |= {str(r['answer'] if 'answer' in r else r['reward_model']['ground_truth']) for r in rows}
texts = sorted(texts)
responses = [v['response'][-400:] for v in vectors]
macros = sorted(proto.MAC)
pieces = r'''\frac \dfrac \tfrac \sqrt \text{ \text \mbox \textbf{ \overline{ \boxed{ \boxed \left \right \begin{pmatrix} \end{pmatrix}
\begin{align*} \end{align*} \begin{center} \end{center} \begin{array}{cc} \end{array} \begin{verbatim} \end{verbatim} \begin \end \item \verb|
\( \) \[ \] \\ \\[2pt] \! \, \; \% \$ \{ \} \bar \hat{ \vec \not= \mathbb{R} \mathcal \mathbf{ab} \mathrm{ \cdot \times \pi \infty \cup \circ
^\circ ^{\circ} ^{ ^ _ & ~ -- --- `` '' !` ?` { } [ ] ( ) ,\! , . / + - * = < > ! % $ " ' 0 1 2 5 10 007 1,000 2,000,000 1/2 -3/4 0.5 .5 5. 1e-9
1e5 1_0 x y n pi e i sqrt( ln( inf nan million billion trillion degree degrees cm centimeters meter miles minutes feet foot inches yards day
year month weeks ^2 ^10 2^3 \text{\ n \text{and} \text{m} a an units points square sue km mph dollars 0.00000001 2000.99999999 \date \title{x}
\section{a} \footnote{a} \nicefrac12 \texorpdfstring{a}{b} \cite[a][b]{c} \hspace*{3pt} \color[a]{b} \newcommand{\a}[1][x]{y} \ensuremath{1} \cfrac12
Answer: answer : ####'''.split() + [' ', '  ', '\n', '\n\n', '\t', '\r', ' or ', ' and ', '% c\n', '\x01', '\x1c', '\x85', '\xa0', '\u2003', '\u3000',
    '\u0661', '\u0663', '\u0967', '\uff15', '\u00b2', '\u2460', '\u0301', '\u0307', '\u0130', '\u03a3', '\u03a3a', '\u017f', '\u00c9', '\u221a', '\u03c0',
    '\u221e', '\u222a', '\u00b7', '\u00d7', '\u2212', '\u6570', '\U0001f600', '\ufffd', '\\\u03c0', '\\\u6570x', 'Answer:', 'Answer: ', '\\text{ ']


def glued():
    parts = []
    for _ in range(rng.choice((1, 2, 2, 3, 4, 6, 9))):
        roll = rng.random()
        if roll < 0.25:
            parts.append(rng.choice(texts))
        elif roll < 0.35:
            parts.append('\\' + rng.choice(macros) + rng.choice(('', ' ', '{a}', '{1}{2}', '[2]{3}', '12')))
        elif roll < 0.45:
            parts.append(''.join(rng.choice('0123456789.,-/ ') for _ in range(rng.randint(1, 9))))
        else:
            parts.append(rng.choice(pieces))
    return ''.join(parts)


environments = '''array pmatrix bmatrix smallmatrix center flushright align* equation gather eqnarray tabular tabularx cases theorem itemize
verbatim figure alignat'''.split()


def nested(depth):
    """LaTeX that is mostly well-formed."""
    out = []
    for _ in range(rng.randint(1, 4)):
        roll = rng.random() if depth else 1
        inner = (lambda: nested(depth - 1))
        if roll < 0.2:
            out.append('{' + inner() + '}')
        elif roll < 0.3:
            e = rng.choice(environments)
            out.append('\\begin{' + e + '}' + rng.choice(('', '', '{cc}', '[b]')) + rng.choice((' & ', '\\\\', '&', '\\\\[1pt] ')).join(inner() for _ in range(rng.randint(1, 3))) +
                       '\\end{' + rng.choice((e, e, e, 'x')) + '}')
        elif roll < 0.4:
            out.append(rng.choice((('\\(', '\\)'), ('\\[', '\\]')))[0] + inner() + rng.choice(('\\)', '\\]', '')))
        elif roll < 0.8:
            name = rng.choice(macros) if rng.random() < 0.6 else rng.choice(('frac', 'sqrt', 'bar', 'mathcal', 'text', 'footnote', 'item', 'verb', '\\', 'unheardof'))
            out.append('\\' + name + rng.choice(('', ' ', '  ', '*', '%x\n')) + ''.join('[' + inner() + ']' if a == '[' and rng.random() < 0.6 else
                       '{' + inner() + '}' if a == '{' and rng.random() < 0.9 else rng.choice(('', ' ', 'x', '\\pi')) for a in proto.MAC.get(name, ('', '', ''))[0]))
        else:
            out.append(rng.choice(pieces))
    return ''.join(out)


def mutated(text):
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        i, j = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        roll = rng.random()
        if roll < 0.4:
            text = text[:i] + rng.choice(pieces) + text[i:]
        elif roll < 0.6:
            text = text[:i] + text[i + 1:]
        elif roll < 0.7:
            text = text[:i] + text[min(j, i + 6):]
        elif roll < 0.8:
            text = text + text[i:j]
        elif roll < 0.9:
            text = '{' + text + '}' if roll < 0.85 else '$' + text + '$'
    return text


class Slow(Exception):
    pass


def alarm(*_):
    raise Slow


signal.signal(signal.SIGALRM, alarm)


def in_time(call):
    """What CALL returns, or Slow: the reference computes some powers for minutes, which we do not wait for."""
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        return call()
    except Slow:
        return Slow
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def question(rule, response, truth):
    return {'rule': rule, 'response': response, 'truths': [str(t) for t in (truth if isinstance(truth, list) else [truth])]}


def expected(q):
    rule, response, truths = q['rule'], q['response'], q['truths']
    if rule == 'normal':
        return in_time(lambda: proto.normalize(response))
    if rule == 'mathd':
        return in_time(lambda: proto.mathd(response))
    truth = truths if rule == 'deepscaler' else truths[0]
    r = in_time(lambda: proto_all.run({'verifier': rule, 'response': response, 'ground_truth': truth}))
    return r if r is Slow else (r[0], r[2])


def questions():
    for _ in range(n_inputs):
        for rule in 'normal', 'mathd':
            yield question(rule, mutated(rng.choice(texts)) if rng.random() < 0.4 else glued(), [])
        yield question('normal', nested(3) if rng.random() < 0.7 else mutated(nested(3)), [])
        truth = rng.choice(texts) if rng.random() < 0.7 else glued()
        given = mutated(truth) if rng.random() < 0.8 else glued()
        yield question('polaris', 'so \\boxed{' + given + '}', truth)
        yield question('dapo-minerva', mutated(rng.choice(('Answer: ', 'answer :', '**Answer:** $', 'Answer:\n')) + given), truth)
        response = mutated(rng.choice(responses))
        yield question('dapo', response + rng.choice(('', '\\boxed{' + given + '}' + response[:rng.randint(0, 99)])), given)
        yield question('dapo-minerva', response, given)
        tagged = mutated(rng.choice(('</think>', '<think>x</think>', '')) + '\\boxed{' + given + '}' + rng.choice(('', '</think>\\boxed{1}')))
        yield question('deepscaler', tagged, [truth, given][:rng.randint(1, 2)])


asked = list(questions())
answers = subprocess.run([program], input='\n'.join(map(json.dumps, asked)) + '\n', capture_output=True, text=True, check=True).stdout
n_slow = n_different = n_limit = 0
for q, line in zip(asked, answers.rstrip('\n').split('\n'), strict=True):
    got = json.loads(line)
    if isinstance(got, dict):
        if got['why'] == 'limit':
            n_limit += 1
            continue
        got = got['correct'], got['pred']
    want = expected(q)
    if want is Slow:
        n_slow += 1
    elif want != got:
        n_different += 1
        print(f'# {q["rule"]}: {q["response"]!r} against {q["truths"]!r}: reference {want!r}, ours {got!r}')
print(f'# {len(asked)} inputs, {n_different} differences, {n_limit} reached a limit, {n_slow} too slow for the reference')
sys.exit(n_different > 0)
