"""The records of an answer: a list, none at all, or an error in the guise of a good answer.

When nothing has changed, APIs write an empty list, or null, or leave the list out. That is an
empty page. A path that was mistyped, an error in an answer with status 200, or another document
altogether isn't: what else stands in the answer tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from profile_pipelines.errors import NoSuchRecord, SourceError
from profile_pipelines.sources.json_records import ABSENT, getter

_ERROR = re.compile(
    r"(error|exception|fault|failure)s?"
    r"(messages?|msg|codes?|descriptions?|details?|types?|text|info)?"
)
_HARMLESS = {"", "0", "none", "null", "false", "ok", "success", "no error"}
_GOOD = {"", "ok", "okay", "success", "successful", "succeeded", "true", "complete", "completed"}
_FAILED = re.compile(r"err(or|ors)?|fail(ed|ure)?|denied|forbidden|invalid|ko|nok|unauthori[sz]ed")
_VERDICTS = {"code", "message", "outcome", "result", "state", "status", "statuscode"}
_OF_SUCCESS = {"success", "successful", "succeeded", "issuccess", "ok"}
_ABOUT_PAGES = re.compile(
    "api|counts?|cursors?|elapsed|embedded|estimate|etag|generated|has|href|kind|limit|links?|meta"
    "|metadata|more|next|object|odata|offset|pages?|pagination|paging|per|prev|previous|query"
    "|request|response|selflink|size|sync|time|timestamp|token|took|totals?|version"
)
"""Words of the names by which an answer tells of itself and its pages, not of a customer."""
_WITH_ANYTHING = {"meta", "metadata", "page", "pagination", "paging", "query", "request"}
"""Those whose objects may hold words of the API's own."""
_ASIDE = {"errors", "included", "messages", "notices", "warnings"}
"""Lists that JSON:API and others set beside the records."""
_PLAIN = re.compile(r"@?[A-Za-z_$][A-Za-z_.$-]{0,40}[0-9]{0,2}")


def records_of(where: str, answer: Any, path: str | None, *, single: bool) -> list[dict[str, Any]]:
    """The records at the path of the answer; `single` takes what is there for one record.

    Raises SourceError where the answer isn't one that has records or could have some, and
    NoSuchRecord for a single one that isn't there.
    """
    member = "record" if single else "records"
    found = answer if path is None else getter(path)(answer)
    if isinstance(found, list) and found:
        if not all(isinstance(record, dict) for record in found):
            raise SourceError(f"{where}: the answer's list holds more than JSON objects")
        return found
    if single and isinstance(found, dict):
        return [found]
    above = _above(answer, path)
    told = next(filter(None, (_error_in(each, listed=found == []) for each, _ in above)), None)
    if told is not None:
        at = f"nothing at `{member}: {path}` but" if path is not None else "no list but"
        raise SourceError(
            f"{where}: the answer has {at} `{told}`, an error, though its status says success; "
            "check `path`, `params` and `auth`, or try again later"
        )
    if single and found is None:
        # GraphQL's way to say so
        raise NoSuchRecord(f"{where}: the API hasn't got this record")
    if found in (None, [], {}) or answer is None:
        return []
    if found is ABSENT and not single and path is not None and _is_left_out(path, above):
        return []
    raise SourceError(f"{where}: {_no_list(answer, path, found, member)}")


def _above(answer: Any, path: str | None) -> list[tuple[dict[str, Any], str]]:
    """The objects on the way to the records, each with the step that leads on from it."""
    found: list[tuple[dict[str, Any], str]] = []
    while isinstance(answer, dict):
        step, _, path = (path or "").partition(".")
        found.append((cast("dict[str, Any]", answer), step))
        answer = answer.get(step)
    return found


def _is_left_out(path: str, above: list[tuple[dict[str, Any], str]]) -> bool:
    """Whether the list isn't there because it would be empty: it is null on the way, or nothing
    else stands there than what tells of the answer and its pages."""
    if not above:
        return False
    last, step = above[-1]
    if len(above) <= path.count(".") + 1 and step in last:
        return last[step] is None
    return all(
        name == step or _is_about_pages(name, value)
        for found, step in above
        for name, value in found.items()
    )


def _is_about_pages(name: str, value: Any) -> bool:
    if isinstance(value, list):
        return name in _ASIDE and not value
    squeezed = _squeezed(name)
    if squeezed in _VERDICTS:
        return type(value) in (int, bool, type(None)) or str(value).lower() in _GOOD
    if _ERROR.fullmatch(squeezed) or squeezed in _OF_SUCCESS:
        # one that tells of an error was found before
        return True
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    if not any(map(_ABOUT_PAGES.fullmatch, words)):
        return False
    if not isinstance(value, dict):
        return True
    if not {"link", "links"}.isdisjoint(words):
        return True
    is_open = not set(words).isdisjoint(_WITH_ANYTHING)
    return all(
        _is_about_pages(key, below) or (is_open and not isinstance(below, dict | list))
        for key, below in cast("dict[str, Any]", value).items()
    )


def _error_in(found: dict[str, Any], *, listed: bool) -> str | None:
    """The member that tells of an error; beside an empty list only one that bears its name."""
    for name, value in found.items():
        squeezed, text = _squeezed(name), str(value).strip().lower()
        if _ERROR.fullmatch(squeezed):
            tells = bool(value) and text not in _HARMLESS
        elif listed:
            continue
        elif squeezed in _OF_SUCCESS:
            tells = text in ("false", "0", "no")
        else:
            is_code = text.isdecimal() and 400 <= int(text[:9]) < 600
            tells = squeezed in _VERDICTS and (is_code or bool(_FAILED.fullmatch(text)))
        if tells:
            return name
    return None


def _squeezed(name: str) -> str:
    return re.sub(r"[_-]", "", name).lower()


def _no_list(answer: Any, path: str | None, found: Any, member: str) -> str:
    lists = list(_lists(answer, ""))
    hint = f"; set `{member}: {lists[0]}`" if lists else f"; set `{member}`"
    if path is None:
        return f"the answer isn't a list of records{hint}"
    state = "nothing" if found is ABSENT else "no list"
    if not lists:
        named = sorted(filter(_PLAIN.fullmatch, answer)) if isinstance(answer, dict) else []
        has = f" (it has {', '.join(named[:10])})" if named else ""
        hint = f"{has}; check `{member}`, `path` and `params`"
    return f"the answer has {state} at `{member}: {path}`{hint}"


def _lists(value: Any, path: str) -> Iterator[str]:
    """The paths of lists that could be meant."""
    if not isinstance(value, dict):
        return
    for name, below in cast("dict[str, Any]", value).items():
        if not _PLAIN.fullmatch(name) or name in _ASIDE:
            continue
        at = f"{path}.{name}" if path else name
        if isinstance(below, list):
            yield at
        elif path.count(".") < 3:
            yield from _lists(below, at)
