# ruff: noqa: RUF001, RUF002 - signs of mathematics, look-alikes included
r"""What can be said of a formula in LaTeX: "\(x^2 \le \frac{a}{b}\)" is "x² ≤ a/b".

Rule 1: only what stands between the delimiters of a formula is touched: \(...\), \[...\], $$...$$, and $...$ if there
is LaTeX in it, because "$5 and $6" is an amount; and lines with a command and its argument, because a sentence may be
one line of a formula.
Rule 2: what has a sign becomes the sign, which voices read in their own language; of any other command its name stays.
Rule 3: linear, whatever is nested or left open.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["without_formulas"]


def without_formulas(text: str) -> str:
    r"""Return a text whose formulas are written as plain text. A delimiter without its other half stays.

    >>> without_formulas(r"It is \(\sqrt{2} \times 10^{3}\), about $1.4 \cdot 10^3$.")
    'It is √2 × 10³, about 1.4 · 10³.'
    """
    text = _INLINE.sub(lambda match: _plain(match[1]), text)
    out: list[str] = []
    opened, end = 0, ""  # where in `out` a formula has begun, and what ends it
    for piece in _DELIMITERS.split(text):
        if end and piece == end:
            formula = "".join(out[opened + 1 :])
            if end != "$$" or _CALCULATED.search(formula):  # "$$ or $$$" is what a restaurant costs
                out[opened:] = [_plain(formula)]
                end = ""
                continue
        if piece in _ENDS:
            opened, end = len(out), _ENDS[piece]
        out.append(piece)
    text = "".join(out)
    return "\n".join(map(_line, text.split("\n"))) if _ARGUMENT.search(text) else text


def _line(line: str) -> str:
    """Return a line as text if it is one of a formula whose delimiters stand in other lines, so in other sentences."""
    if not _ARGUMENT.search(line):
        return line
    return re.sub(r"\S(?:.*\S)?", lambda match: _plain(_DELIMITERS.sub(" ", match[0])), line, count=1)


def _plain(formula: str) -> str:
    """Return a formula as text."""
    if not _WRITTEN.search(formula):
        return formula.strip()
    formula = _ENVIRONMENT.sub(" ", formula)
    for _ in range(_DEPTH):
        before, formula = formula, _SET.sub(r"\1", formula)
        formula = _FRACTION.sub(lambda match: f"{_grouped(match[1])}/{_grouped(match[2])}", formula)
        formula = _ROOT.sub(lambda match: f"{_index(match[1] or '')}√{_grouped(match[2])}", formula)
        if formula == before:
            break
    formula = _DEGREE.sub("°", formula)
    formula = _RAISED.sub(lambda match: _index(match[1] or match[2], "^"), formula)
    formula = _LOWERED.sub(lambda match: _lowered(match[1] or match[2]), formula)
    formula = _COMMAND.sub(_command, formula)
    formula = _SPACE.sub(" ", formula).replace("<", " < ")
    return _RUN.sub(" ", _LEFT_OVER.sub("", formula)).strip()


def _command(match: re.Match[str]) -> str:
    """Return the sign of a command, or its name: "sin"."""
    name = match[1]
    return "" if name in _UNSAID else _SIGNS.get(name, name)


def _grouped(part: str) -> str:
    """Return one side of a fraction, in brackets if it is more than a number or a name."""
    part = part.strip()
    return part if part.isalnum() or _ONE.fullmatch(part) else f"({part})"


def _index(number: str, sign: str = "") -> str:
    """Return an exponent: raised if there are such digits, else behind its sign."""
    number = number.strip()
    is_raised = bool(number) and all(character in _DIGITS for character in number)
    return number.translate(_RAISE) if is_raised else sign + number


def _lowered(name: str) -> str:
    """Return what tells two variables apart: "x1", "x max"."""
    return name.strip() if name.strip().isdigit() else f" {name.strip()}"


_DELIMITERS: Final = re.compile(r"(?<!\\)(\\[()\[\]]|\$\$)")
_ENDS: Final = {r"\(": r"\)", r"\[": r"\]", "$$": "$$"}
# A formula between single dollars, which amounts of money have as well: one command, exponent or index is in it.
_INLINE: Final = re.compile(r"(?<![\\$\w])\$(?![\s$])(?=[^$\n]{0,200}[\\^_{])([^$\n]{1,200})(?<![\s\\])\$(?![\w$])")
_ARGUMENT: Final = re.compile(r"\\[A-Za-z]+ ?\{")
_CALCULATED: Final = re.compile(r"[\\^_=]")
_WRITTEN: Final = re.compile(r"[\\^_{}&<~]")
_DEPTH: Final = 4  # fractions in fractions that are read
_ENVIRONMENT: Final = re.compile(r"\\(?:begin|end)\{[A-Za-z*]*\}|&")
_SET: Final = re.compile(
    r"\\(?:text|mathrm|mathbf|mathit|mathbb|mathcal|operatorname|overline|vec|hat|bar)\{([^{}]*)\}"
)
_FRACTION: Final = re.compile(r"\\[dt]?frac ?\{([^{}]*)\} ?\{([^{}]*)\}")
_ROOT: Final = re.compile(r"\\sqrt ?(?:\[([^\[\]{}]*)\])? ?\{([^{}]*)\}")
_ONE: Final = re.compile(r"\\?[\w.,]+")
_DEGREE: Final = re.compile(r"\^ ?(?:\{ ?\\circ ?\}|\\circ(?![A-Za-z]))")
_RAISED: Final = re.compile(r"\^ ?(?:\{([^{}]*)\}|(-?\w))")
_LOWERED: Final = re.compile(r"_ ?(?:\{([^{}]*)\}|(\w))")
_COMMAND: Final = re.compile(r"\\([A-Za-z]+)")
_SPACE: Final = re.compile(r"\\\\|\\[,;:!> ]|~")
_LEFT_OVER: Final = re.compile(r"[\\{}](?![%$#_&{}])|\\(?=[%$#_&{}])")
_RUN: Final = re.compile(r"\s+")
_DIGITS: Final = frozenset("0123456789-+")
_RAISE: Final = str.maketrans("0123456789-+", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺")

_UNSAID: Final = frozenset(("left", "right", "quad", "qquad", "displaystyle", "limits", "big", "Big"))
_TABLE: Final = """
times × cdot · div ÷ pm ± mp ∓ le ≤ leq ≤ ge ≥ geq ≥ ne ≠ neq ≠ approx ≈ equiv ≡ sim ∼ propto ∝ infty ∞ to →
rightarrow → Rightarrow ⇒ implies ⇒ iff ⇔ sum ∑ prod ∏ int ∫ partial ∂ nabla ∇ in ∈ notin ∉ subset ⊂ cup ∪ cap ∩
forall ∀ exists ∃ angle ∠ degree ° circ ° ldots ... dots ... cdots ...
alpha α beta β gamma γ delta δ epsilon ε varepsilon ε theta θ lambda λ mu μ pi π rho ρ sigma σ tau τ phi φ varphi φ
omega ω Gamma Γ Delta Δ Sigma Σ Phi Φ Omega Ω
"""
_SIGNS: Final[dict[str, str]] = dict(zip(_TABLE.split()[::2], _TABLE.split()[1::2], strict=True))
