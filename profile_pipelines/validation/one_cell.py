"""What a single text says, in plain Python, so that a search needn't load Polars.

`validation.cells` does the same for whole columns with these patterns; a property test holds the
two together.
"""

from __future__ import annotations

import re

from profile_pipelines.catalog.values import MISSING

INVISIBLE = "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
"""Characters that come with copying and nobody sees: zero-width space, byte order mark, soft
hyphen, marks of direction. The joiners of Persian words and emoji aren't among them."""
JOINERS = "[\u200c\u200d]"
"""They are no part of a number or an address, either."""
QUOTED_FORMULA = r'^="(.*)"$'
"""`="00123"`: a spreadsheet's text that would else be a number."""
TEXT_MARK = r"^'([0-9=+\-@][^']*)$"
"""`'00123`: the apostrophe that a spreadsheet puts before such a text. `'t Hooft` has another."""
WHOLE_NUMBER = r"^(-?[0-9]+)\.(?:0|00|0000+)$"
"""A whole number with its `.0`. `1.000` isn't one: it may be a thousand."""
FLOAT = r"^[+-]?[0-9]+\.0$"
"""A whole number as programs write a float."""
SCIENTIFIC = r"^[+-]?[0-9](?:[.,][0-9]+[eE][+-]?|[eE][+-])[0-9]{1,3}$"
"""As programs and spreadsheets write it, with a point, a decimal comma or a sign; `12E3` may be
somebody's number."""
_BLANKS = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)


def trimmed(text: str) -> str:
    """Without white space at both ends, as Polars knows it; Python's own `strip` takes four
    separators more."""
    return text.strip(_BLANKS)


def meaning(text: str) -> str | None:
    """What the text says: without marks and invisible characters; None when it says nothing."""
    text = re.sub(INVISIBLE, "", text)
    bare = trimmed(text)
    if found := re.fullmatch(QUOTED_FORMULA, bare):
        text = found[1].replace('""', '"')
    elif found := re.fullmatch(TEXT_MARK, bare):
        text = found[1]
    return text if (bare := trimmed(text)) and bare not in MISSING else None


def plain_number(text: str) -> str:
    """The text, or the number that it is in its one spelling."""
    if found := re.fullmatch(WHOLE_NUMBER, trimmed(text)):
        return found[1]
    if re.fullmatch(SCIENTIFIC, trimmed(text)):
        return spelled_out(text) or text
    return text


def spelled_out(scientific: str) -> str | None:
    """A number of scientific notation in plain digits: `1.23e2` is `123`.

    None where it stands for more digits than it shows (`4.9E+12`): the others are lost.
    """
    mantissa, _, exponent = trimmed(scientific).lower().replace(",", ".").partition("e")
    sign, digits = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa.lstrip("+"))
    whole, _, fraction = digits.partition(".")
    shown, point = whole + fraction, len(whole) + int(exponent)
    if point > len(shown):
        return None
    if point <= 0:
        shown, point = "0" * (1 - point) + shown, 1
    left = shown[:point].lstrip("0") or "0"
    right = shown[point:].rstrip("0")
    return f"{sign}{left}.{right}" if right else f"{sign}{left}"
