"""How CSV files are written, where that isn't left to be found from them."""

from __future__ import annotations

import codecs
from itertools import combinations
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from profile_pipelines.catalog.declaration import Declaration

_NAMED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}


def _delimiter(value: object) -> object:
    text = _NAMED.get(value, value) if isinstance(value, str) else value
    if not _is_mark(text):
        raise ValueError("must be one character, for example ';', '|' or tab")
    return text


def _quote(value: object) -> object:
    if value is False or value == "none":
        return False
    if not _is_mark(value):
        raise ValueError("must be one character, for example '\"', or false where there is none")
    return value


def _escape(value: object) -> object:
    if not _is_mark(value):
        raise ValueError("must be one character, for example '\\', in single quotes")
    return value


def _decimal(value: object) -> object:
    if value not in (".", ","):
        raise ValueError("must be '.' or ','")
    return value


def _header(value: object) -> object:
    if isinstance(value, bool):
        return value
    names = cast("list[object]", value) if isinstance(value, list) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(
            "must be true, false, or the names of the columns where the files have no header, "
            "for example [id, email]"
        )
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names {twice[0]} twice")
    return names


def _texts(value: object) -> object:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(
        isinstance(text, str) for text in cast("list[object]", texts)
    ):
        raise ValueError("must be texts in quotes, for example ['NULL', '-']")
    return cast("list[object]", texts)


def _is_mark(value: object) -> bool:
    """Whether it is one character that can stand between or around cells."""
    return isinstance(value, str) and len(value) == 1 and value.isascii() and value not in "\r\n\0"


class CsvOptions(Declaration):
    """How a sync's CSV files are written. What isn't given is found from each file."""

    delimiter: Annotated[
        str | None, BeforeValidator(_delimiter), WithJsonSchema({"type": "string"})
    ] = None
    """What stands between the cells of a row: one character, or `tab`."""
    encoding: str | None = Field(default=None, examples=["windows-1252"])
    """The files' encoding, by its usual name."""
    quote: Annotated[
        str | Literal[False] | None,
        BeforeValidator(_quote),
        WithJsonSchema({"type": ["string", "boolean"]}),
    ] = None
    """What stands around cells that hold delimiters or line ends; false where nothing does."""
    escape: Annotated[str | None, BeforeValidator(_escape), WithJsonSchema({"type": "string"})] = (
        None
    )
    """What stands before a quote, a delimiter, a line end or itself that belongs to the text."""
    decimal: Annotated[
        str | None, BeforeValidator(_decimal), WithJsonSchema({"enum": [".", ","]})
    ] = None
    """What stands before a number's decimals; with a comma, points may group its digits."""
    header: Annotated[
        bool | list[str],
        BeforeValidator(_header),
        WithJsonSchema({"type": ["boolean", "array"], "items": {"type": "string"}}),
    ] = True
    """False where the first row is a record: its columns are `column_1`, `column_2`, …, or the
    names that are given instead."""
    skip: int = Field(default=0, ge=0)
    """How many lines stand before the header, or before the first record."""
    null: Annotated[
        list[str],
        BeforeValidator(_texts),
        WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
    ] = []
    """The cells that mean a missing value, beside empty ones without quotes."""

    @field_validator("encoding")
    @classmethod
    def _is_encoding(cls, name: str | None) -> str | None:
        if name is None:
            return None
        try:
            found: Any = codecs.lookup(name)
        except (LookupError, ValueError):
            found = None
        if found is None or not found._is_text_encoding or found.name in _NO_FILE_HAS:
            raise ValueError(
                "isn't the name of an encoding; write for example utf-8, utf-16, windows-1252 "
                "or iso-8859-2"
            )
        return name

    @model_validator(mode="after")
    def _tells_apart(self) -> Self:
        marks = {"delimiter": self.delimiter, "quote": self.quote, "escape": self.escape}
        given = {name: mark for name, mark in marks.items() if mark}
        for (one, mark), (other, same) in combinations(given.items(), 2):
            if mark == same:
                raise ValueError(f"{one} and {other} are one character; they must differ")
        return self


_NO_FILE_HAS = (
    *("idna", "mbcs", "oem", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"),
)
