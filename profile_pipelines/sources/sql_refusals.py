"""What a database that doesn't give its records means, in words for people.

A driver's own text may quote values of records: of it only the kind and the code are shown.
"""

from __future__ import annotations

from typing import Any

from profile_pipelines.errors import SourceError, SourceUnreachable

_LOST = {
    "2006", "2013", "2055", "1053", "1152", "1158", "1159", "1160", "1161", "1927", "20003",
    "20004", "20006", "20017", "20047",
}  # fmt: skip
"""Codes of MySQL and SQL Server for a connection that is no more; PostgreSQL's are a class."""
_LOST_CLASSES = ("08", "53", "57P")
_LOST_WORDS = ("PQgetCopyData", "terminating connection", "server closed", "SSL SYSCALL")
_TOO_LONG = {"57014", "1317", "1969", "3024"}
_FORBIDDEN = {"42501", "1044", "1142", "1143", "1227", "229", "230"}
_LOCKED = {"SQLITE_BUSY", "SQLITE_LOCKED", "55P03", "1205", "1213", "40P01"}
_NOT_UTF8 = {"22021", "22P05"}
_VALUES = {"1264", "1292", "1365", "1366", "1690", "1916", "245", "248", "8114", "8115", "8134"}
_VALUE_WORDS = ("invalid input syntax", "division by zero", "out of range", "Conversion Error")
"""What PostgreSQL's COPY and DuckDB's Arrow say, which give no code."""


def refusal(
    where: str, place: str, origin: str, error: Any, *, is_lost: bool = False
) -> SourceError:
    """What to raise where the records of `origin`, a table or query, can't be read.

    `error` is the driver's; `is_lost` says that the connection is known to be gone.
    """
    code = _code(error)
    named = "" if isinstance(error, OSError) else type(error).__name__
    kind = f" ({f'{named} {code}'.strip()})" if named or code else ""
    lost = code in _LOST or (len(code) == 5 and code.startswith(_LOST_CLASSES))
    if is_lost or lost or any(words in str(error) for words in _LOST_WORDS):
        return SourceUnreachable(f"{where}: {place} broke off the reading of {origin}{kind}")
    if code in _TOO_LONG or "canceling statement" in str(error):
        return SourceUnreachable(
            f"{where}: {place} ended the reading of {origin}, which took longer than it allows"
            f"{kind}; give this user more time, or read less at once"
        )
    if code in _LOCKED:
        return SourceUnreachable(
            f"{where}: another program has locked {origin} of {place}{kind}; it's tried again "
            "with the next run"
        )
    return SourceError(f"{where}: {place} can't give {origin}{kind}: {_advice(code, str(error))}")


def _advice(code: str, said: str) -> str:
    if code in _FORBIDDEN:
        return "this user may not read it; grant it SELECT"
    if code in _NOT_UTF8 or "byte sequence" in said:
        return "a text in it can't be brought to UTF-8; mend it at the source"
    of_a_value = code in _VALUES or (len(code) == 5 and code.startswith("22"))
    if of_a_value or any(words in said for words in _VALUE_WORDS):
        return (
            "a cast or a calculation of the query, or of a view, fails on the value of some "
            "record; mend the value or make the query say what it shall be"
        )
    if code in ("SQLITE_CORRUPT", "SQLITE_NOTADB", "XX001", "XX002"):
        return "its files are damaged; restore or repair them"
    return (
        "its own words aren't shown, since they may hold values of records; run the same SELECT "
        "by hand as this user to see them"
    )


def _code(error: Any) -> str:
    """SQLSTATE, or the database's own number or name."""
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        if isinstance(code := getattr(error, name, None), str):
            return code
    first = error.args[0] if getattr(error, "args", ()) else None
    return str(first) if isinstance(first, int) else ""
