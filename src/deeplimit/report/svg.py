"""Drawings made small and safe to place side by side in one page: short coordinates, ids of their own."""

from __future__ import annotations

import re

_HEAD = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL)
_PATH = re.compile(r'(?<=[ \n])(d|x|y|points)="([^"]*)"')
_LONG = re.compile(r"-?\d+\.\d{3,}")
_ID = re.compile(r' id="([^"]+)"')
_REFERENCE = re.compile(r'(?<=href=")#([^"]+)|(?<=url\()#([^)]+)')
_ROOT = re.compile(r"<svg\b[^>]*>")


def _rounded(match: re.Match[str]) -> str:
    text = f"{float(match[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _coordinates(match: re.Match[str]) -> str:
    return f'{match[1]}="{_LONG.sub(_rounded, " ".join(match[2].split()))}"'


def tidy(text: str, prefix: str) -> str:
    """A drawing without prolog, metadata and style sheet; a hundredth of a point is kept; every id begins with `prefix`.

    A style sheet inside a drawing would rule the whole page: its two properties are inherited from the root instead.
    """
    text = _PATH.sub(_coordinates, _HEAD.sub("", text))
    used = {first or second for first, second in _REFERENCE.findall(text)}
    text = _ID.sub(lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", text)
    text = _REFERENCE.sub(lambda m: f"#{prefix}-{m[1] or m[2]}", text)
    text = text.replace("<svg ", '<svg style="stroke-linejoin:round;stroke-linecap:butt" ', 1)
    return re.sub(r"\n\s*", "\n", text).strip()


def as_file(tidied: str) -> str:
    """A drawing as a file of its own."""
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tidied}\n'


def inline(tidied: str) -> str:
    """A drawing to stand inside HTML: as wide as its box, read out as one image."""
    root = _ROOT.search(tidied)
    if root is None:
        return tidied
    head = re.sub(r' (?:width|height|version|xmlns(?::\w+)?)="[^"]*"', "", root[0])
    head = head.replace("<svg ", '<svg class="plot" role="img" ', 1)
    return head + tidied[root.end() :].replace("xlink:href", "href")
