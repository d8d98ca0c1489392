"""Whether a program printed what its page says."""

import re

ANYTHING = re.compile(r"\.\.\.|…")
# What differs from run to run, the longest forms first.
VARYING = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{40,64}|\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


def fits(expected: str, printed: str, figures_vary: bool = False) -> bool:
    """Blanks and line ends don't count, since pages wrap long lines; `...` stands for any text."""
    pieces = (re.escape(plain(piece, figures_vary)) for piece in ANYTHING.split(expected))
    return re.fullmatch(".*?".join(pieces), plain(printed, figures_vary), re.DOTALL) is not None


def plain(text: str, figures_vary: bool) -> str:
    if figures_vary:
        text = VARYING.sub("0", text)
    return re.sub(r"\s+", "", text)
