"""What all declarations of the catalogue share: their base, names, durations, shares, secrets."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    Tag,
    ValidationError,
    model_validator,
)

from profile_pipelines.catalog.durations import parse_duration
from profile_pipelines.catalog.periods import Period, format_period, parse_period
from profile_pipelines.catalog.plain_words import explain_keys
from profile_pipelines.catalog.time_zones import time_zone

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=63)]
"""Lower case words joined by single underscores; `__` is kept for the lake's own columns."""

_DurationText = Annotated[str, Field(pattern=r"^\s*\d+\s*[a-zA-Z]+\s*$", examples=["24h"])]
Duration = Annotated[
    timedelta, BeforeValidator(parse_duration, json_schema_input_type=_DurationText)
]
Span = Annotated[
    Period,
    BeforeValidator(lambda value: _span(value), json_schema_input_type=_DurationText),
    PlainSerializer(format_period),
]
"""A length of time in which days are days of the calendar, and hours exact."""
Share = Annotated[
    float,
    BeforeValidator(lambda value: _share(value), json_schema_input_type=float | str),
    Field(ge=0, le=1),
]

Zone = Annotated[str, AfterValidator(lambda name: time_zone(name))]
"""The IANA name of a time zone."""

_SizeText = Annotated[str, Field(pattern=r"^\s*\d+\s*[kMG]?B\s*$", examples=["200 MB"])]
Size = Annotated[
    int,
    BeforeValidator(lambda value: _size(value), json_schema_input_type=_SizeText),
    Field(gt=0),
]
"""A number of bytes, written as `200 MB`."""


class Declaration(BaseModel):
    """Base of all declarations: unknown keys are mistakes, values never change."""

    # a catalogue has few of the kinds of declarations: the others needn't be compiled
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @model_validator(mode="wrap")
    @classmethod
    def _explain_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            raise explain_keys(cls, error) from None


class Secret(Declaration):
    """`{env: NAME}`: a value that is read from the environment when it is used."""

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", examples=["CRM_URL"])


def _text_or_secret(value: object) -> str:
    return "secret" if isinstance(value, dict | Secret) else "text"


Text = Annotated[
    Annotated[str, Tag("text")] | Annotated[Secret, Tag("secret")], Discriminator(_text_or_secret)
]


def _address(text: str | Secret, schemes: str, example: str) -> str | Secret:
    if isinstance(text, str) and not re.match(rf"({schemes})://", text, re.IGNORECASE):
        raise ValueError(f"must begin with a scheme, for example {example}")
    return text


WebAddress = Annotated[
    Text,
    AfterValidator(lambda text: _address(text, "https?", "https://api.example.com/v1")),
]
"""The address of something on the web, or `{env: NAME}`."""
DatabaseAddress = Annotated[
    Text,
    AfterValidator(
        lambda text: _address(text, r"[a-z][\w+.-]*", "postgresql://reader@db.example.com/crm")
    ),
]
"""An SQLAlchemy URL, or `{env: NAME}`, as it must be where it holds a password."""


def _span(value: object) -> Period:
    return value if isinstance(value, Period) else parse_period(value)


def _share(value: object) -> object:
    if not isinstance(value, str):
        return value
    number = value.strip().removesuffix("%")
    if number == value.strip() or not number.replace(".", "", 1).isdecimal():
        raise ValueError("must be a share, for example 5% or 0.05")
    if float(number) > 100:
        raise ValueError("must be at most 100%")
    return float(number) / 100


def _size(value: object) -> object:
    if isinstance(value, int):
        return value
    match = re.fullmatch(r"\s*(\d+)\s*([kMG]?)B\s*", str(value))
    if match is None:
        raise ValueError("must be a size, for example 200 MB or 2 GB")
    return int(match[1]) * 1024 ** ("", "k", "M", "G").index(match[2])
