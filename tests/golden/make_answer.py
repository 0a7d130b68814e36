#!/usr/bin/env python3
"""Writes answer.jsonl, verdicts of the rules' executable reference on inputs written here, and answer-forms.jsonl, what
its parts make of texts. make_answer.py REFERENCE

REFERENCE is the folder with proto.py and proto_all.py (the specification's, Python 3 with mpmath). Inputs are short and
ours; verdicts are the reference's, and every line stays reviewable by the rules' description in jrl-verify(1)."""
import contextlib
import io
import json
import os
import sys

reference = sys.argv[1]
sys.path.insert(0, reference)
sys.argv = sys.argv[:1]
with contextlib.redirect_stdout(io.StringIO()):
    import proto_all

# Pairs (answer in the box, reference) for the rules that compare symbolically.
PAIRS = [line.split(' | ') for line in r'''5 | 5
5.0 | 5
05 | 5
5. | 5
+5 | 5
 5  | 5
-0 | 0
5 \text{ or } 6 | 5
\text{5} | 5
\text{ 5 } | 5
x=5 | 5
area=5 | 5
5 = 5 | 5
10/2 | 5
\sqrt{25} | 5
2^3 | 8
1,000 | 1000
1,000,000,000 | 1000000000
1,0000 | 10000
2,000.99999999 | 2000
2000.99999999 | 2001
1e-9 | 0
0.00000009 | 1e-9
0.0000002 | 0
9007199254740993 | 9007199254740992
1e23 | 99999999999999991611392
١٢ | 12
1_000 | 1000
inf | nan
\frac12 | \frac{1}{2}
\dfrac{1}{2} | \frac{1}{2}
\tfrac12 | 1/2
0.5 | \frac{1}{2}
.5 | \frac12
2/4 | 1/2
\frac{2}{4} | \frac{1}{2}
(1)/(2) | 1/2
3./2 | 3/2
-\frac{1}{2} | \frac{-1}{2}
\frac{-1}{2} | -0.5
4\frac{2}{3} | \frac{14}{3}
4 2/3 | \frac{14}{3}
\frac{1}{2 | \frac{1}{2}
\frac{12} | 12
\frac\pi2 | \frac{\pi}{2}
\sqrt3 | \sqrt{3}
\sqrt[3]{8} | \sqrt{8}
√2 | \sqrt{2}
\sqrt{2}√2 | 2
2\sqrt{3} | \sqrt{12}
\frac{1}{\sqrt2} | \frac{\sqrt{2}}{2}
\sqrt{x^2} | x
\pi | 3.14159
2π | 2\pi
\pi/2 | \frac{1}{2}\pi
x^2-1 | (x-1)(x+1)
(x+1)^2 | x^2+2x+1
ab | ba
no | on
abc | cba
x^{10} | x^{10}
x^10 | x^(10)
2^3x | 8x
1/2x | x/2
i^2 | -1
n! | n*(n-1)!
5! | 120
0.1+0.2 | 0.3
7/1.5 | 4.666666666666667
1/0 | 1/0
ln(2) | 0.6931
\ln 2 | \ln(2)
(1,2) | (1, 2)
(1,2) | [1,2]
[5] | 5
(1,2) | (2,1)
(0.5,1) | (\frac12,1)
(1/2,2/4) | (1/2,1/2)
1,-2 | -2,1
1, -2 | 1,-2
(1,000) | 1000
[0,\infty) | [0,\infty)
(1,2]\cup(3,4) | (1,2] \cup (3,4)
5\% | 5
5\$ | \$5
$5$ | 5
5 cm | 5
5\text{ cm} | 5
5 meters^2 | 5
5 centimeters | 5
90^\circ | 90
90^{\circ} | 90
Monday | Mon
kilometers | kilo
2 million | 2000000
2 billion dollars | 2\times 10^9
5 \text{ and } 6 | 5 , 6
1 or 2 | 1,2
{5} | 5
{5}{6} | 5}{6
\{1,2\} | \{1, 2\}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{pmatrix}1&2\\3&4\end{pmatrix}
\begin{pmatrix} 1 \\ 10 \end{pmatrix} | \begin{bmatrix} 1 \\ 10 \end{bmatrix}
\begin{pmatrix}\end{pmatrix} | x
\begin{align*} 5 \end{align*} | 5
\(5\) | 5
\[5\] | 5
\mbox{5} | 5
\mbox{5}6 | 6
\cfrac12 | 12
\mathrm{5} | 5
\mathbb{R} | ℝ
\mathcal{B} | ℬ
\bar{x} | x̄
\bar{é} | é̄
\not= | ≠
\vec{ab} | a⃗b⃗
A | a
ΑΣ | ας
İ | i̇
\textbf{x} % comment | x
5~6 | 56
a--b | a–b
\unheardof{5} | 5
\pi数 | \pi
\date | \date
\section{5} | 5
\verb|5| | 
\footnote{5} | [5]
\frac{\frac{\frac{1 | 1
\left(\frac{1}{2}\right) | 0.5
\rightarrow | arrow
\text{5 | 5
\! 5 | 5
5\, | 5
5,\! 000 | 5000
- 5 | -5
p - q | -q+p
p^2q | qp^2
x_1 | x_{1}
12_{3} | 12_3
\text{east} | east
\text{East} | east
''5'' | ”5”
{.5} | {0.5}
=5 | 5
xyz=5 | 5
\boxed{5} | 5
5\\ | 5
\frac{a}{b | a/b
{{5}} | 5
5 | \boxed{5}
5 | \boxed 5
5 | x \boxed{5} y \boxed{6
 | 5
5 | '''.split('\n')]

# Whole responses, for the rules named.
RESPONSES = [
    ('polaris deepscaler', 'no box', '5'), ('polaris deepscaler', '\\boxed 5', '5'), ('polaris deepscaler', '\\boxed{5} \\boxed', '5'),
    ('polaris deepscaler', '\\boxed{5} \\boxed{6', '5'), ('polaris deepscaler', '\\fbox{5}', '5'), ('polaris deepscaler', '\\boxed{5}}}', '5'),
    ('polaris deepscaler', 'a\x00\\boxed{5\x00}', '5\x00'), ('polaris deepscaler', '', ''), ('polaris deepscaler', '</think>\\boxed{}', ''),
    ('deepscaler', '<think>\\boxed{5}', '5'), ('deepscaler', '</think>\\boxed{5}', '5'), ('deepscaler', '</Think>\\boxed{5}', '5'),
    ('deepscaler', 'a</think>\\boxed{5}</think>\\boxed{6}', '5'), ('deepscaler', 'a</think></think>\\boxed{5}', '5'),
    ('deepscaler', '</think>\\boxed{5}', ['4', '\\boxed{5', '5']), ('deepscaler', '</think>\\boxed{0.5}', 0.5),
    ('deepscaler', '</think>\\boxed{True}', True), ('deepscaler', '</think>\\boxed{100}', 100.0), ('deepscaler', '</think>\\boxed{5}', [7, 5]),
    ('dapo', '\\boxed{5}' + 91 * 'é', '5'), ('dapo', '\\boxed{5}' + 92 * '😀', '5'), ('dapo', '\\boxed{\\boxed{5}}', '5'),
    ('dapo', '\\boxed{5} \\boxed{6', '5'), ('dapo', '\\boxed{1\\}', '1\\'), ('dapo', '\\boxed{ 5}', '5'), ('dapo', '\\boxed{}', ''),
    ('dapo-minerva', 'Answer: 5', '5'), ('dapo-minerva', 'answer:\n\n5 cm', '5'), ('dapo-minerva', 'Anſwer : $x = 1,234$', '1234'),
    ('dapo-minerva', 'Answer: \\frac12', '\\frac{1}{2}'), ('dapo-minerva', 'Answer: 1\nAnswer:\n\n', '1'), ('dapo-minerva', 'Answer: \t\n', ''),
    ('dapo-minerva', 'Answer: \\text{a}b} $1$ $2$', 'ab}'), ('dapo-minerva', '\\boxed{5}', '5'), ('dapo-minerva', 'Answer: ²,³', '²³'),
    ('dapo-minerva', 'Answer: 5' + 300 * ' ', '5'), ('dapo-minerva', 'Answer: \\sqrt2\\sqrt{3}', '\\sqrt{2}\\sqrt{3}'),
]


def line(rule, response, truth):
    acc, score, pred = proto_all.run({'verifier': rule, 'response': response, 'ground_truth': truth})
    return {'id': f'golden/{rule}', 'verifier': rule, 'response': response, 'ground_truth': truth, 'expected': {'score': score, 'acc': acc, 'pred': pred}}


# Texts for the parts, separated by |; line ends belong to them. LaTeX as text is null where it is given up.
TEXTS = r"""\frac12|\frac{a}{b}c|\frac{12}|\frac|\frac\pi2|\frac{1}2|\sqrt\frac12|\sqrt[3]{8}|\sqrt [3]{8}|\sqrt[3|a\\[2pt]b|a\\ [2pt]b|a\\*b|\textcolor[a]{b}{c}
\mathbb{RxC1}|\mathcal{BEg}|\mathfrak{H}h|\bar{xy}|\bar x|\hat|\vec{}|\not=|\c{c}|\"{\i}|\'e|\^\j|\texorpdfstring{a}{b}|\footnote[1]{x}|\item a|\item[b] a
\(a \pi b\)|\( \pi \)|\(\alpha  x\)|\[x\]y|\[a
b\]|a\)b\]|{a}}b|{a{b|\begin{center}x\end{center}|\begin{x}y\end{z}w\end{x}|\begin {x}y\end{x}|\begin x|\end{x}a|\begin{array}{cc}1&22\\333&4\end{array}
\begin{pmatrix}&a\\\\b\end{pmatrix}|\begin{pmatrix}\end{pmatrix}|\begin{pmatrix}{}\end{pmatrix}|\begin{pmatrix}é&xyz\end{pmatrix}|\begin{tabular}{c}x\end{tabular}
\begin{theorem}[t]x\end{theorem}|\begin{verbatim}\x{\end{verbatim}y|\begin{verbatim}x|\begin{align*}a&b\\c\end{align*}|\verb|x|\verb!x!y|\verb x|\verb
a%b|a%b
 c|a%b

c|a---b--c-d|``a''|!`?`~&|\%\&\#\_\{\}|\ a|\, b|\cite[a][b]{c}d|\newcommand{\a}[1]{b}c|\hspace*{1pt}x|\hspace* {1pt}x|\mbox{12}3|\ensuremath{1}2|\cfrac12|\unheardof{5}6
\date|\date{x}y|\section{x}|\includegraphics{x}|\pi数|\pi 数|\数x|\textbf{a}\emph{b}|\text{a}{b}|a  b
  c|\\|a\|\ |{[a]}|\sqrt[{]}]{x}|\sqrt[[a]b]{x}|\nicefrac{1}{2}\overline{ab}|\textfrac|\circ|\dots\ldots|\left(\right)|x^{2}_{3}|\operatorname{lcm}(a)
 5 |\text{ 5 }|5\text{ cm}|\text{ a}\text{ b}|x=5|xy=5|xyz=5|a=b=c|.5|{.5}| .5|\frac12\frac34|\frac1|\frac{1}2|\sqrt3+\sqrt{2}|\sqrt|0.5|1/2|-1/2|01/2|1/-2|1/2/3|50\%
90^\circ|90^{\circ}|\tfrac12|\left(1\right)|\rightarrow|a\!b|\$5|$5$|5%|5 or 6|5 and 6|2 million|3 billion|1 trillion|5 cm^2|5 centimeters|5 feet|5 inches|Monday|hours
5 degrees|{5}|{a}{b}|1,\! 000|1,000|1,000,000|1,000,000,000|1,0000|12,345.0|5.0|5.|005|-0|1e3|1e-9|1e23|2000.99999999|2,000.99999999|- 5|4 2/3|1 2 3|ΑΣ|İ|(1, 2)|√2|2π
\pi\infty\cup\cdot\times|\sqrt{2}\pi|4\frac{2}{3}|٣|1_0|inf|nan|$\frac{1}{2}$|A\%B|\text{}|\text{a}
""".replace('\\verb|x|', '\\verb+x+')
FORMS = TEXTS.split('|')


def forms(text):
    try:
        latex = proto_all.P.latex_to_text(text)
    except proto_all.P.Abort:
        latex = None
    return {'text': text, 'latex': latex, 'mathd': proto_all.P.mathd(text), 'normal': proto_all.P.normalize(text)}


lines = [line('polaris', 'so \\boxed{' + given + '}', truth) for given, truth in PAIRS]
lines += [line('deepscaler', '<think>1</think>\\boxed{' + given + '}', truth) for given, truth in PAIRS[::3]]
lines += [line(rule, response, truth) for rules, response, truth in RESPONSES for rule in rules.split()]
for name, rows in ('answer', lines), ('answer-forms', map(forms, FORMS)):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name + '.jsonl'), 'w', encoding='utf-8') as f:
        f.writelines(json.dumps(x, ensure_ascii=False) + '\n' for x in rows)
