r"""Golds and responses on which the wrapper says what the library says."""

# Gold, and answer in the box of a response.
_BOXED = r"""
5 | 5
5 | 6
5 | -5
5 | 5.0
5 | 05
5 | 5.
5 | \, 5 \,
5 | \text{5}
5 | \mathbf{5}
5 | x = 5
5 | x=6
5 | 5\text{ cm}
5 | 5 \mathrm{cm}
5 | 5\%
5 | 5^\circ
5 | \$5
5 | 10/2
5 | \frac{10}{2}
5 | \frac{11}{2}
5 | \sqrt{25}
5 | 2 + 3
5 | 2 + 2
5 | five
5 | \text{see above}
5 | 5, 6
5 | \{5\}
5 | (5)
5 | 4.9999999
5 | 4.99
-7 | -7
-7 | 7
-7 | (-7)
-7 | - 7
-7 | −7
0 | 0
0 | -0
0 | 0.0
0 | \emptyset
12345 | 12,345
12345 | 12{,}345
12345 | 12\,345
12345 | 12 345
12345 | 12354
12345 | 1.2345 \times 10^4
12345 | 1.2345e4
12000 | 1.2 \cdot 10^{4}
12000 | 12 \times 10^3
1000000 | 10^6
1000000 | 10^5
\frac{1}{2} | \frac{1}{2}
\frac{1}{2} | \dfrac{1}{2}
\frac{1}{2} | \tfrac12
\frac{1}{2} | \frac12
\frac{1}{2} | \frac 1 2
\frac{1}{2} | 1/2
\frac{1}{2} | 0.5
\frac{1}{2} | .5
\frac{1}{2} | 0.50
\frac{1}{2} | 50\%
\frac{1}{2} | \frac{2}{4}
\frac{1}{2} | 2^{-1}
\frac{1}{2} | \frac{2}{1}
\frac{1}{2} | 2
\frac{1}{2} | 0.51
\frac{1}{2} | -\frac{1}{2}
-\frac{3}{4} | \frac{-3}{4}
-\frac{3}{4} | \frac{3}{-4}
-\frac{3}{4} | -3/4
-\frac{3}{4} | -0.75
-\frac{3}{4} | 0.75
-\frac{3}{4} | -\frac{4}{3}
\frac{1}{3} | 0.333333
\frac{1}{3} | 0.3333
\frac{1}{3} | 0.33
\frac{1}{3} | 0.\overline{3}
\frac{7}{3} | 2\frac{1}{3}
\frac{7}{3} | 2 \frac{1}{3}
\frac{7}{3} | \frac{7}{3}\text{ hours}
\frac{7}{3} | 2.333333
\frac{22}{7} | \pi
\frac{22}{7} | 3.142857
0.25 | \frac{1}{4}
0.25 | 25\%
0.25 | 0.250
0.25 | 0.2500001
0.25 | 0.26
0.25 | 1/4
3.14 | \pi
3.14 | 3.14
3.14 | 3.1400
3.14 | 3,14
25\% | 25\%
25\% | 25%
25\% | 25 \%
25\% | 25 percent
25\% | 0.25
25\% | \frac{1}{4}
25\% | 25
25\% | 26\%
25\% | 0.25\%
25\% | 2.5
12.5\% | 0.125
12.5\% | 12.5
12.5\% | \frac{1}{8}
12.5\% | 12\%
\sqrt{2} | \sqrt{2}
\sqrt{2} | \sqrt2
\sqrt{2} | 2^{1/2}
\sqrt{2} | 2^{\frac{1}{2}}
\sqrt{2} | 1.41421356
\sqrt{2} | 1.414
\sqrt{2} | \sqrt{3}
\sqrt{2} | 2
2\sqrt{3} | \sqrt{12}
2\sqrt{3} | 2 \sqrt 3
2\sqrt{3} | 2 \cdot \sqrt{3}
2\sqrt{3} | 2\times\sqrt{3}
2\sqrt{3} | \frac{6}{\sqrt{3}}
2\sqrt{3} | 3\sqrt{2}
2\sqrt{3} | -2\sqrt{3}
2\sqrt{3} | 2
\frac{1}{\sqrt{2}} | \frac{\sqrt{2}}{2}
\frac{1}{\sqrt{2}} | \sqrt{\frac{1}{2}}
\frac{1}{\sqrt{2}} | \frac{\sqrt{2}}{3}
1+\sqrt{5} | \sqrt{5}+1
1+\sqrt{5} | 1-\sqrt{5}
\frac{1+\sqrt{5}}{2} | \frac{1}{2}+\frac{\sqrt{5}}{2}
\frac{1+\sqrt{5}}{2} | \frac{\sqrt{5}-1}{2}
\sqrt[3]{2} | 2^{1/3}
\sqrt[3]{2} | \sqrt{2}
\pi | \pi
\pi | 3.14159265
\pi | 3.14
2\pi | 2 \pi
2\pi | \pi \cdot 2
2\pi | \pi
\frac{\pi}{6} | \pi/6
\frac{\pi}{6} | 30^\circ
\frac{\pi}{6} | \frac{\pi}{3}
e^2 | e^{2}
e^2 | 2e
\ln 2 | \log 2
\ln 2 | \ln(2)
\ln 2 | \ln 3
\log_2 8 | 3
\sin 30^\circ | \frac{1}{2}
30^\circ | 30
30^\circ | 30^{\circ}
30^\circ | 60^\circ
(1, 2) | (1,2)
(1, 2) | (1, 2)
(1, 2) | \left(1, 2\right)
(1, 2) | (2, 1)
(1, 2) | (1, 3)
(1, 2) | 1, 2
(1, 2) | [1, 2]
(1, 2) | \{1, 2\}
(1, 2, 3) | (1,2,3)
(1, 2, 3) | (1, 3, 2)
(1, 2, 3) | (1, 2)
(\frac{1}{2}, -3) | (0.5, -3)
(\frac{1}{2}, -3) | (\dfrac{1}{2}, -3)
(\frac{1}{2}, -3) | (2, -3)
[1, 2] | [1,2]
[1, 2] | \left[1, 2\right]
[1, 2] | 1 \le x \le 2
[1, 2] | x \in [1, 2]
[1, 2] | (1, 2]
[1, 2] | [1, 3]
[1, 2) | [1,2)
[1, 2) | [1,2]
[1, 2) | 1 \leq x < 2
(-\infty, 3] | (-\infty,3]
(-\infty, 3] | (-\infty, 3)
(-\infty, 3] | x \le 3
(-\infty, 3] | (-oo, 3]
(-\infty, -1) \cup (1, \infty) | (-\infty,-1)\cup(1,\infty)
(-\infty, -1) \cup (1, \infty) | (1,\infty)\cup(-\infty,-1)
(-\infty, -1) \cup (1, \infty) | (-\infty,-1]\cup[1,\infty)
(-\infty, -1) \cup (1, \infty) | (-\infty,-1)
x \le 3 | (-\infty, 3]
x \le 3 | x \leq 3
x \le 3 | 3 \geq x
x \le 3 | x < 3
\{1, 2, 3\} | \{3, 2, 1\}
\{1, 2, 3\} | \{1,2,3\}
\{1, 2, 3\} | 1, 2, 3
\{1, 2, 3\} | 1, 2 \text{ and } 3
\{1, 2, 3\} | \{1, 2\}
\{1, 2, 3\} | \{1, 2, 4\}
\{1, 2, 3\} | \{1, 2, 2, 3\}
\{1, 2, 3\} | (1, 2, 3)
1, 2 | 2, 1
1, 2 | 1 \text{ or } 2
1, 2 | x = 1, x = 2
1, 2 | x = 1 \text{ or } x = 2
1, 2 | 1
\pm 2 | 2, -2
\pm 2 | \pm 2
\pm 2 | 2
x^2 - 2x + 1 | x^2-2x+1
x^2 - 2x + 1 | (x-1)^2
x^2 - 2x + 1 | 1 - 2x + x^2
x^2 - 2x + 1 | x^2+2x+1
x^2 - 2x + 1 | y^2-2y+1
x^2 - 2x + 1 | x^2 - 2 \cdot x + 1
2x + 3 | 3 + 2x
2x + 3 | 2x+3
2x + 3 | 2x
2x + 3 | y = 2x + 3
y = 2x + 3 | 2x + 3
y = 2x + 3 | y=2x+3
y = 2x + 3 | y - 2x = 3
y = 2x + 3 | y=3x+2
f(x) = x^2 | x^2
f(x) = x^2 | f(x)=x^2
\frac{x}{x+1} | 1 - \frac{1}{x+1}
\frac{x}{x+1} | \frac{x}{x-1}
\frac{x+1}{2} | \frac{1}{2}(x+1)
a^2 b | ba^2
a^2 b | ab^2
i | i
3 + 4i | 4i + 3
3 + 4i | 3 - 4i
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | \begin{pmatrix}1\\2\end{pmatrix}
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | \begin{bmatrix}1\\2\end{bmatrix}
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | \begin{pmatrix}2\\1\end{pmatrix}
\text{Monday} | \text{Monday}
\text{Monday} | Monday
\text{Monday} | \text{Tuesday}
\text{(B)} | B
\text{(B)} | \text{(B)}
\text{(B)} | \text{(C)}
\infty | \infty
\infty | -\infty
5! | 120
\binom{5}{2} | 10
\binom{5}{2} | 20
2^{10} | 1024
12 \text{ cm}^2 | 12
12 \text{ cm}^2 | 12\text{ cm}^2
12 \text{ cm}^2 | 13\text{ cm}^2
"""

# Gold, and a whole response.
_TEXTS = r"""
5 | The answer is 5.
5 | The answer is 6.
5 | We get $x = 5$.
5 | We get $x = 5$, then add 1 to get 6.
5 | Answer: 5
5 | I tried 5 but it fails.
5 | I do not know.
5 | \boxed{4} is what I had but now it is \boxed{5}.
5 | \boxed{5} is what I had, but it must have been an error: so \boxed{4}.
5 | \boxed{5}, after which there is more to say of 7 things.
5 | The final answer is $4$. No: $\boxed{5}$.
5 | $$\boxed{5}$$
5 | \[ \boxed{5} \]
5 | \( \boxed{6} \)
5 | $x = \boxed{5}$
5 | **\boxed{5}**
5 | \boxed{5} \boxed{6}
5 | $\boxed 5$
5 | \boxed{\boxed{5}}
2, 3 | \boxed{2} and \boxed{3}
2, 3 | \boxed{2}, \boxed{3}
2, 3 | $x = \boxed{2}$ or $x = \boxed{3}$
2, 3 | \boxed{2} or \boxed{4}
\frac{1}{2} | The answer is $\frac{1}{2}$.
\frac{1}{2} | The answer is 1/2.
\frac{1}{2} | The answer is $\frac{1}{3}$.
25\% | The answer is $25\%$.
25\% | The answer is 25 percent.
2\sqrt{3} | The answer is $2\sqrt{3}$.
2\sqrt{3} | The answer is $2\sqrt{2}$.
"""


def _rows(table):
  rows = [line.partition(" | ") for line in table.split("\n") if line]
  return [(gold, response) for gold, _, response in rows]


# (gold without delimiters, response).
PAIRS = [
  *((gold, rf"So it is $\boxed{{{x}}}$.") for gold, x in _rows(_BOXED)),
  *_rows(_TEXTS),
]
