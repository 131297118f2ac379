"""What templates may do with values: Jinja2 in a sandbox, in which a missing value stays missing.

Whatever is done with a missing value (a filter, an operator, a part of it) gives a missing value,
which is written as nothing and which `default` fills in. Text filters take every type as people
read it: `99.5`, `2027-06-15 09:00`, `phone, tv`.
"""

# Jinja's filters and the values in templates have any type.
# pyright: standard

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from profile_pipelines.catalog.spelling import json_text, local_time, people_text
from profile_pipelines.catalog.values import number_text

_OF_TEXT = frozenset([
    "capitalize", "center", "e", "escape", "forceescape", "indent", "lower", "replace", "safe",
    "string", "striptags", "title", "trim", "truncate", "upper", "urlencode", "urlize",
    "wordcount", "wordwrap",
])  # fmt: skip
"""Filters that take their value as text."""
_FILL_IN = frozenset(["default", "d", "tojson"])
"""Filters that write something for a missing value: JSON knows it as null."""


class Missing(Undefined):
    """A value that isn't there; so is everything that is made of it."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Missing:
        if name.startswith("__"):
            # Python looks for protocols
            raise AttributeError(name)
        return self

    def __getitem__(self, key: object) -> Missing:
        return self

    def __call__(self, *args: object, **kwargs: object) -> Missing:
        return self

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Missing)

    __hash__ = Undefined.__hash__

    def _never(self, other: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _never
    __contains__ = _never


MISSING = Missing(name="a missing value")


class MessageEnvironment(ImmutableSandboxedEnvironment):
    """How templates are read and rendered; a name that nobody gives is a mistake."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "**", "%"])
    intercepted_unops = frozenset(["+", "-"])

    def __init__(self, *, html: bool) -> None:
        super().__init__(
            autoescape=html,
            undefined=StrictUndefined,
            finalize=_written,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        own = {**self.filters, "date": _date, "words": _words}
        self.filters = {name: _lenient(name, each) for name, each in own.items()}
        self.tests["none"] = _is_missing
        self.policies["json.dumps_function"] = _json

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if _is_missing(left) or _is_missing(right):
            other = right if _is_missing(left) else left
            return other if operator == "+" and isinstance(other, str) else MISSING
        if operator == "%" and isinstance(left, str):
            args = right if isinstance(right, tuple) else (right,)
            return left % tuple(map(_spelled, args))
        return super().call_binop(context, operator, left, right)

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        return MISSING if _is_missing(arg) else super().call_unop(context, operator, arg)

    def getitem(self, obj: Any, argument: Any) -> Any:
        found = super().getitem(obj, argument)
        # a list may have fewer entries for one customer than for another
        short = isinstance(found, Undefined) and isinstance(argument, int)
        return MISSING if short else found

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all(nodes.Concat):
            node.nodes = [
                nodes.Filter(each, "string", [], [], None, None, lineno=each.lineno)
                for each in node.nodes
            ]
        return tree


def told(value: object, zone: tzinfo) -> object:
    """A value as templates have it: moments by the clocks of a zone, decimals without zeros at
    their end."""
    match value:
        case None:
            return MISSING
        case datetime():
            return local_time(value, zone)
        case Decimal():
            return _plain(value)
        case _:
            return value


def _lenient(name: str, filtered: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that leaves a missing value missing, and takes every type as text where it takes
    text."""
    at = 1 if hasattr(filtered, "jinja_pass_arg") else 0

    @wraps(filtered)
    def applied(*args: Any, **kwargs: Any) -> Any:
        value = args[at]
        if _is_missing(value):
            if name not in _FILL_IN:
                return MISSING
            value = MISSING
        elif name in _OF_TEXT and not isinstance(value, str | Mapping):
            value = people_text(_listed(value))
        rest = args[at + 1 :]
        if name == "format":
            if any(map(_is_missing, (*rest, *kwargs.values()))):
                return MISSING
            rest = tuple(map(_spelled, rest))
            kwargs = {key: _spelled(each) for key, each in kwargs.items()}
        found = filtered(*args[:at], value, *rest, **kwargs)
        return MISSING if isinstance(found, Undefined) else found

    return applied


def _is_missing(value: object) -> bool:
    return value is None or isinstance(value, Missing)


def _written(value: Any) -> Any:
    """What `{{ value }}` writes."""
    return value if isinstance(value, str) else people_text(_listed(value))


def _spelled(value: Any) -> Any:
    """What stands for `%s`, where numbers stay numbers for `%.2f`."""
    match value:
        case Decimal():
            return _plain(value)
        case str() | float():
            return value
        case int() if not isinstance(value, bool):
            return value
        case _:
            return people_text(_listed(value))


def _plain(number: Decimal) -> Decimal:
    return Decimal(number_text(number) or number)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, Iterator) else value


def _json(value: object, **options: object) -> str:
    return json_text(_with_null(value))


def _with_null(value: object) -> object:
    match value:
        case Mapping():
            return {key: _with_null(each) for key, each in value.items()}
        case list() | tuple() | Iterator():
            return [_with_null(each) for each in value]
        case Markup():
            return str(value)
        case _:
            return None if _is_missing(value) else value


def _date(value: object, form: str = "%-d %B %Y") -> str:
    return value.strftime(form) if isinstance(value, date) else ""


def _words(value: object, last: str = "and") -> str:
    """Entries as in a sentence: `phone, tv and radio`."""
    value = _listed(value)
    texts = list(map(people_text, value)) if isinstance(value, list) else [people_text(value)]
    return f" {last} ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
