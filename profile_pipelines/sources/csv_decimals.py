"""Numbers with a decimal comma, which become numbers with a point."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

NO_COMMA = "isn't a number with a decimal comma"
"""The reason why a cell is quarantined that a point makes another number."""
_GROUPING = ". '\u2019\u00a0\u2009\u202f"
_REGEX = "match_substring_regex"
_POWER = r"([eE][+-]?\d+)?"
_WITH_COMMA = rf"^\s*[+-]?(\d+|\d{{1,3}}([{_GROUPING}]\d{{3}})+)(,\d+)?{_POWER}\s*$"
_WITH_POINT = rf"^\s*[+-]?(\d*|\d{{1,3}}([,{_GROUPING[1:]}]\d{{3}})+)\.\d*{_POWER}\s*$"
_EITHER = r"^\s*[+-]?[1-9]\d{0,2}([,.]\d{3})*\s*$"
"""As well thousands as decimals: `1,234` and `1.234`."""
_WRITE = "csv: {decimal: ','} or {decimal: '.'}"
COMMAS = "decimal commas"
MIXED = (
    "some numbers have a decimal comma and others a decimal point, so that no comma is taken for "
    f"one; say which they are by {_WRITE}"
)
MAY_BE_THOUSANDS = (
    "its numbers look like 1.234, which may be thousands; it is read as 1 and a fraction, unless "
    f"you say which they are by {_WRITE}"
)


def marks_of(columns: Iterable[pa.Array]) -> str:
    """How decimals are marked in the cells, for people: COMMAS where some can only be numbers with
    a decimal comma and none can only be one with a decimal point; "" for points."""
    by_comma = by_point = by_either = False
    for column in columns:
        cells = column.filter(_where(_REGEX, column, "[,.]")).drop_null()
        if not len(cells):
            continue
        either = _where(_REGEX, cells, _EITHER)
        by_either = by_either or _any(_where("match_substring", cells.filter(either), "."))
        cells = cells.filter(pc.call_function("invert", [either]))
        by_point = by_point or _any(_where(_REGEX, cells, _WITH_POINT))
        numbers = cells.filter(_where(_REGEX, cells, _WITH_COMMA))
        by_comma = by_comma or _any(_where("match_substring", numbers, ","))
    if by_comma:
        return MIXED if by_point else COMMAS
    return MAY_BE_THOUSANDS if by_either and not by_point else ""


def with_points(column: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """The column with its numbers spelt with a point and without grouping; and the reasons beside
    the cells that a point makes another number, if there are such."""
    fits = _where(_REGEX, column, _WITH_COMMA)
    plain = pc.call_function(
        "replace_substring_regex",
        [column],
        pc.ReplaceSubstringOptions(f"[{_GROUPING}]", ""),
    )
    plain = pc.call_function("replace_substring", [plain], pc.ReplaceSubstringOptions(",", "."))
    wrong = pc.call_function("and_not", [_where(_REGEX, column, _WITH_POINT), fits])
    reasons = None
    if _any(wrong):
        missing = pa.scalar(None, pa.string())
        reasons = pc.call_function("if_else", [wrong, pa.scalar(NO_COMMA), missing])
    return pc.call_function("if_else", [fits, plain, column]), reasons


def _where(function: str, column: pa.Array, pattern: str) -> pa.Array:
    return pc.call_function(function, [column], pc.MatchSubstringOptions(pattern))


def _any(found: pa.Array) -> bool:
    return bool(pc.call_function("any", [found]).as_py())
