"""Safe YAML that remembers its lines.

Only plain data comes out: text, numbers, true/false, null, dates, timestamps, lists, mappings.
What surprises people in YAML 1.1 is left out: `no`, `on`, `012` and `12:30` stay text, keys are
always text, and there are neither tags nor merge keys. Size, depth and aliases are bounded, so
that no file can exhaust memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, cast

import yaml

from profile_pipelines.catalog.mistakes import Path

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_ALIASED_VALUES = 10_000

_parse: Any = cast(Any, yaml).parse
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(Exception):
    """The text can't be read as YAML; `line` counts from 1."""

    def __init__(self, line: int, text: str, path: Path = ()) -> None:
        self.line, self.text, self.path = line, text, path
        super().__init__(text)


@dataclass
class Document:
    """A file's data, the line of every key and list item, and mistakes that left it readable."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict[Path, int])
    mistakes: list[YamlError] = field(default_factory=list[YamlError])

    def line_of(self, path: Path) -> int:
        """The line of the value at `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_yaml(content: bytes) -> Document:
    """Read one YAML document. Raises YamlError when it isn't one, or is beyond the bounds."""
    if len(content) > MAX_BYTES:
        raise YamlError(1, f"the file is larger than {MAX_BYTES:,} bytes; split it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise YamlError(line, "this isn't UTF-8 text; save the file as UTF-8") from None
    unquoted: list[tuple[int, str]] = []
    try:
        node = _compose(text)
    except YamlError:
        # what people forget to put in quotes needn't hide what else is wrong
        quoted, unquoted = _with_quotes(text)
        if quoted == text:
            raise
        node = _compose(quoted)
    document = Document()
    if node is not None:
        _Flattener(document).flatten(node)
    for line, value in unquoted:
        path = next((p for p, at in document.lines.items() if at == line and p), ())
        path = next((p for p in document.lines if _value_at(document.data, p) == value), path)
        said = f'needs quotes, since YAML has a meaning of its own for the *: "{value}"'
        document.mistakes.append(YamlError(line, said, path))
    return document


def _compose(text: str) -> _Node | None:
    try:
        return _Composer(text).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else 1, _problem(error)) from None
    except yaml.YAMLError:
        raise YamlError(1, "the file holds characters that YAML doesn't allow") from None


def _with_quotes(text: str) -> tuple[str, list[tuple[int, str]]]:
    """The text with quotes around cron expressions, each with its line, and around what stands for
    a variable in other tools: the first are mistakes here, the second are told when they're read.
    """
    unquoted: list[tuple[int, str]] = []
    lines = text.split("\n")
    for number, line in enumerate(lines):
        for found in reversed([*_CRON.finditer(line)]):
            unquoted.append((number + 1, found[2]))
            line = f'{line[: found.start(2)]}"{found[2]}"{line[found.end(2) :]}'
        lines[number] = _TEMPLATE.sub(
            lambda found: found[1] + "'" + found[2].replace("'", "''") + "'", line
        )
    return "\n".join(lines), unquoted


def _value_at(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


@dataclass
class _Node:
    line: int
    value: Any = None
    keys: list[tuple[str, int]] | None = None
    items: list[_Node] | None = None
    size: int = 1
    height: int = 0

    def add(self, item: _Node) -> None:
        assert self.items is not None
        self.items.append(item)
        self.size += item.size
        self.height = max(self.height, item.height + 1)


class _Composer:
    """Builds nodes from the parser's events; an alias is the anchored node itself."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = iter(_parse(text, Loader=_Loader))
        self._anchors: dict[str, _Node] = {}
        self._aliased = 0

    def document(self) -> _Node | None:
        next(self._events)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        node = self._node(next(self._events), 0)
        next(self._events)
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise YamlError(_line(after), "a second document begins here; keep one per file")
        return node

    def _node(self, event: Any, depth: int) -> _Node:
        if depth > MAX_DEPTH:
            raise YamlError(_line(event), f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        if event.tag is not None and event.tag != "tag:yaml.org,2002:str":
            raise YamlError(_line(event), "tags (!…) aren't read; write plain values")
        if isinstance(event, yaml.ScalarEvent):
            node = _Node(_line(event), _scalar(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            node = self._mapping(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, depth: int) -> _Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            text = "a word that begins with * refers to an earlier &anchor, and there is none"
            raise YamlError(_line(event), f"{text}; put text that begins with * in quotes")
        self._aliased += node.size
        if self._aliased > MAX_ALIASED_VALUES or depth + node.height > MAX_DEPTH:
            raise YamlError(_line(event), "the aliases (*…) repeat too much; write values out")
        return node

    def _sequence(self, event: Any, depth: int) -> _Node:
        node = _Node(_line(event), items=[])
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            node.add(self._node(event, depth + 1))
        return node

    def _mapping(self, event: Any, depth: int) -> _Node:
        node = _Node(_line(event), keys=[], items=[])
        assert node.keys is not None
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise YamlError(_line(event), "a key must be plain text")
            if event.value == "<<" and event.implicit[0]:
                raise YamlError(_line(event), "merge keys (<<) aren't read; repeat the keys")
            node.keys.append((str(event.value), _line(event)))
            node.add(self._node(next(self._events), depth + 1))
        return node


class _Flattener:
    def __init__(self, document: Document) -> None:
        self._document = document

    def flatten(self, node: _Node) -> None:
        self._document.lines[()] = node.line
        self._document.data = self._value(node, ())

    def _value(self, node: _Node, path: Path) -> Any:
        if node.items is None:
            if isinstance(node.value, YamlError):
                self._document.mistakes.append(
                    YamlError(self._document.line_of(path), node.value.text, path)
                )
                return None
            return node.value
        if node.keys is None:
            for index, item in enumerate(node.items):
                self._document.lines[(*path, index)] = item.line
            return [self._value(item, (*path, i)) for i, item in enumerate(node.items)]
        found: dict[str, Any] = {}
        for (key, line), item in zip(node.keys, node.items, strict=True):
            here = (*path, key)
            if key in found:
                text = f"stands here twice, first on line {self._document.lines[here]}"
                self._document.mistakes.append(YamlError(line, f"{text}; keep one", here))
                continue
            self._document.lines[here] = line
            found[key] = self._value(item, here)
        return found


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _problem(error: yaml.MarkedYAMLError) -> str:
    # The parser's own words may quote the file, and with it a secret: only its known phrases pass.
    problem = error.problem or ""
    hints = {
        "mapping values are not allowed": "a colon too many, or a wrong indentation",
        "did not find expected key": "a wrong indentation, or a missing colon",
        "could not find expected": "a colon is missing, or a wrong indentation",
        "found character that cannot start": "a tab or a special character; use spaces, or quotes",
        "found unexpected end of stream": "a quote or bracket isn't closed",
        "did not find expected ',' or": "a bracket or brace isn't closed",
        "found a tab": "a tab; indent with spaces",
        "did not find expected node content": "a bracket isn't closed, or a value is missing",
    }
    for phrase, hint in hints.items():
        if problem.startswith(phrase):
            return f"this isn't valid YAML: {hint}"
    unquoted = problem.split("'", 1)[0].strip()
    return f"this isn't valid YAML: {unquoted or 'unreadable'}"


def _scalar(event: Any) -> Any:
    text: str = event.value
    if event.tag is not None or not event.implicit[0]:
        return text
    for pattern, convert in _PLAIN:
        if pattern.fullmatch(text):
            try:
                return convert(text)
            except ValueError:
                return YamlError(0, f"{text} isn't in the calendar; put text in quotes")
    return text


def _number(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


_CRON = re.compile(r"(:\s+)(\*[^\s\"'{}]*(?:[ \t]+[^\s\"'{}#,]+(?:,[^\s\"'{}#]+)*){4})")
"""A cron expression without quotes that begins with a *: five fields."""
_TEMPLATE = re.compile(r"""(:\s+)(\{\{[^}\n]*\}\}|[^\s"'{},[\]]*\$\{[^}\n]*\}[^\s"'{},[\]]*)""")

_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}
_PLAIN: list[tuple[re.Pattern[str], Callable[[str], Any]]] = [
    (re.compile(r"|~|null|Null|NULL|true|True|TRUE|false|False|FALSE"),
     lambda text: _CONSTANTS[text.lower()]),
    (re.compile(r"[-+]?(0|[1-9][0-9]{0,30})"), int),
    (re.compile(r"[-+]?(0|[1-9][0-9]*)?\.[0-9]{1,30}([eE][-+]?[0-9]{1,3})?"), _number),
    (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"), date.fromisoformat),
    (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
                r"([Zz]|[-+][0-9]{2}:[0-9]{2})?"),
     lambda text: datetime.fromisoformat(text.upper())),
]  # fmt: skip
