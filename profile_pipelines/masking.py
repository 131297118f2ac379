"""Shows what a value looks like without showing the value."""

from __future__ import annotations

import re
from collections.abc import Collection

_DOT = "•"
_SHOWN = 1
_SHORT = 4
_LONGEST = 24
_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+?(?:(\.[a-z]{2,6})|\.[^@\s.]+)$", re.IGNORECASE)
FLAGS = frozenset({"true", "false", "yes", "no", "y", "n", "t", "f", "0", "1"})
"""What truth values look like in business systems, in lower case."""


def mask(text: str, known: Collection[str] = ()) -> str:
    """The value with its letters and digits hidden: `a•••@•••.com`, `C-••••••`, `2•••-••-••`.

    Punctuation and spaces stay, and the first letter or digit of what has four or more. The
    `known` values, which the catalogue itself names, are shown whole. Of an address only the
    first letter and the last part of the domain are, if it is short; of long text the start.
    """
    text = text.strip()
    if text in known or text.lower() in known:
        return text
    if address := _EMAIL.match(text):
        return f"{text[0]}{_DOT * 3}@{_DOT * 3}{address[1] or ''}"
    readable = sum(map(_is_readable, text))
    left = _SHOWN if readable >= _SHORT else 0
    shown: list[str] = []
    for sign in text[:_LONGEST]:
        if not _is_readable(sign):
            shown.append(sign)
        elif left:
            shown.append(sign)
            left -= 1
        else:
            shown.append(_DOT)
    return "".join(shown) + ("…" if len(text) > _LONGEST else "")


def _is_readable(sign: str) -> bool:
    """Whether the sign tells something; also marks that join the letter before (é as two)."""
    return not (sign.isspace() or (sign.isascii() and not sign.isalnum()))
