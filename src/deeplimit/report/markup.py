"""The little markup that texts of a report may carry, turned into escaped HTML.

Everything is escaped first. Then `code` between back-ticks, subscripts and superscripts of single letters and of short
operators (Z_k, max_{k,t}, 2^14, e^{-μt}), numbers such as 7.0e-8, and minus signs are set as a typesetter would.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_ARGUMENT = r"(?:\{[^{}]*\}|[-−]?\d+(?:[./]\d+)?(?![\w])|\d(?=[^\W\d_])|[^\W\d_](?![\w])|[*∞])"
_BASE = r"(?:(?<![\w])(?:max|min|sup|inf|lim|log|mean|[^\W_]|\d+)|[‖)\]|′∂∇])"
_SCRIPTED = re.compile(rf"({_BASE})((?:[_^]{_ARGUMENT})+)")
_SCRIPT = re.compile(rf"([_^])({_ARGUMENT})")
_SCIENTIFIC = re.compile(r"(?<![\w.])([-−]?)(\d+(?:\.\d+)?)e([-+−]?)0*(\d+)(?![\w.]\w|\w)")
_COMMON = re.compile(r"(?<=[)\]])e([-−]?)(\d+)(?![\w])")
_MINUS = re.compile(r"(?<![\w.)\]-])-(?=\d|∞)")


def _script(match: re.Match[str]) -> str:
    tag = "sub" if match[1] == "_" else "sup"
    return f"<{tag}>{match[2].strip('{}').replace('-', '−')}</{tag}>"


def _scripts(match: re.Match[str]) -> str:
    return match[1] + _SCRIPT.sub(_script, match[2])


def _scientific(match: re.Match[str]) -> str:
    sign = "−" if match[1] else ""
    power = f"10<sup>{'−' if match[3] in ('-', '−') else ''}{match[4]}</sup>"
    return f"{sign}{power}" if match[2] == "1" else f"{sign}{match[2]}×{power}"


def _common(match: re.Match[str]) -> str:
    return f"×10<sup>{'−' if match[1] else ''}{match[2]}</sup>"


def _prose(text: str) -> str:
    """Escaped HTML of text without code."""
    # The order matters: tags enter last, so that no later pattern sees them; scripts nest nowhere.
    html = _COMMON.sub(_common, _SCIENTIFIC.sub(_scientific, str(escape(text))))
    return _MINUS.sub("−", _SCRIPTED.sub(_scripts, html))


def rich(text: str) -> Markup:
    """One run of text as HTML.

    >>> print(rich("max_k ‖Z_k‖_F < 1e-7"))
    max<sub>k</sub> ‖Z<sub>k</sub>‖<sub>F</sub> &lt; 10<sup>−7</sup>
    """
    parts = re.split(r"`([^`]+)`", text)
    html = [f"<code>{escape(part)}</code>" if i % 2 else _prose(part) for i, part in enumerate(parts)]
    return Markup("".join(html))


def paragraphs(text: str) -> Markup:
    """Text as HTML paragraphs; blank lines separate them."""
    blocks = [block.strip() for block in re.split(r"\n\s*\n", text) if block.strip()]
    return Markup("\n").join(Markup("<p>{}</p>").format(rich(block)) for block in blocks)
