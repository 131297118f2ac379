"""What all declarations of the catalogue share: their base, names, durations, shares, secrets."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    Tag,
    ValidationError,
    model_validator,
)

from profile_pipelines.catalog.durations import parse_duration
from profile_pipelines.catalog.plain_words import explain_keys

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=63)]
"""Lower case words joined by single underscores; `__` is kept for the lake's own columns."""

_DurationText = Annotated[str, Field(pattern=r"^\s*\d+\s*[a-zA-Z]+\s*$", examples=["24h"])]
Duration = Annotated[
    timedelta, BeforeValidator(parse_duration, json_schema_input_type=_DurationText)
]
Share = Annotated[
    float,
    BeforeValidator(lambda value: _share(value), json_schema_input_type=float | str),
    Field(ge=0, le=1),
]

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
