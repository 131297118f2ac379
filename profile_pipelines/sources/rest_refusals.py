"""Why an API refuses a request, by what its answer says: a code, never the message itself.

Messages may quote values; codes are the vendor's words. A message is only looked at for a name
that the request itself bears, in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from profile_pipelines.errors import MissingField, SourceError, SourceUnreachable
from profile_pipelines.sources.json_records import parse

_CODE = re.compile(r"[A-Za-z][A-Za-z_]{2,59}|0x[0-9a-fA-F]{8}")
_NAMES_OF_CODES = ("errorCode", "code", "error", "category", "type", "policyName")
_QUOTED = re.compile(r"""(['"])([\w.]+)\1""")


class RefusedError(SourceError):
    """An answer whose status says that it won't be given."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def refusal(
    where: str, status: int, content: bytes, hint: str, fields: Iterable[str]
) -> SourceError:
    """The error for an answer whose status says that it won't be given.

    `MissingField` when it names one of the request's fields as unknown, `SourceUnreachable` when
    the allowance of requests is used up (Salesforce's 403 REQUEST_LIMIT_EXCEEDED).
    """
    errors = list(_errors(content))
    codes = list(dict.fromkeys(code for error in errors for code in _codes(error)))
    answered = f"{where}: the API answered with {status}"
    if codes:
        answered += f" ({', '.join(codes[:3])})"
    if status == 403 and any("LIMIT" in code.upper() for code in codes):
        return SourceUnreachable(
            f"{answered}: the allowance of requests is used up; try again later, or sync less often"
        )
    quoted = {found[2] for error in errors for found in _QUOTED.finditer(_message(error))}
    unknown = [each for each in fields if quoted & _names(each)]
    if status == 400 and len(unknown) == 1:
        field = unknown[0]
        return MissingField(
            field,
            f"{answered}: it knows no field {field}, or these credentials may not see it",
        )
    return RefusedError(status, f"{answered}: {hint}")


def _errors(content: bytes) -> Iterator[dict[str, Any]]:
    """The objects that tell of an error: the answer, its first one, or what stands at `error`."""
    try:
        answer = parse(content)
    except ValueError:
        return
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    if isinstance(answer, dict):
        yield answer
        if isinstance(answer.get("error"), dict):
            yield answer["error"]


def _codes(error: dict[str, Any]) -> Iterator[str]:
    for name in _NAMES_OF_CODES:
        code = error.get(name)
        if isinstance(code, str) and _CODE.fullmatch(code):
            yield code


def _names(field: str) -> set[str]:
    """What an API may call a field: its path, or the last part of it."""
    path = re.split(r"[\[@]", field)[0]
    return {path, path.rpartition(".")[2]}


def _message(error: dict[str, Any]) -> str:
    message = error.get("message")
    return message if isinstance(message, str) else ""
