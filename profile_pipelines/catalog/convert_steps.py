"""The steps that turn what a source's field holds into what an attribute takes.

A closed set. Text steps work on each entry where the value is a list. What a step can't convert
is quarantined; a missing value stays missing until a `default`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Literal, Self, cast, get_args

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from profile_pipelines.catalog.currencies import minor_digits
from profile_pipelines.catalog.declaration import Declaration, Zone
from profile_pipelines.catalog.mistakes import did_you_mean, in_words
from profile_pipelines.catalog.plain_words import located
from profile_pipelines.catalog.time_formats import check_format
from profile_pipelines.catalog.validity import pattern_mistakes

Word = Literal["trim", "lower", "upper", "first", "last"]
WORDS: tuple[str, ...] = get_args(Word)


def _scalar(value: object) -> object:
    if value is not None and not isinstance(value, str | int | float | date):
        raise ValueError("must be a text, a number, true, false, a date or null")
    return value


def _argument(value: object) -> object:
    if value == "":
        raise ValueError("is empty; write the text")
    return value


Scalar = Annotated[
    Any,
    BeforeValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
]
Text = Annotated[str, BeforeValidator(_argument), Field(json_schema_extra={"minLength": 1})]


class MapStep(Declaration):
    """Each of the source's words becomes one of ours; null means a missing value."""

    map: dict[str, Scalar] = Field(min_length=1, examples=[{"trialing": "active"}])
    otherwise: Scalar = None
    """What every other word becomes; without it, other words are quarantined."""

    @property
    def is_total(self) -> bool:
        """Whether `otherwise` is given."""
        return "otherwise" in self.model_fields_set


class DefaultStep(Declaration):
    """A missing value becomes this one."""

    default: Scalar

    @field_validator("default")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise ValueError("has no value; leave the step out where the value may be missing")
        return value


class ReplaceStep(Declaration):
    """Each fixed text that occurs is replaced, in order."""

    replace: dict[Text, str] = Field(min_length=1)


class ExtractStep(Declaration):
    """The first match of a regular expression: its first group, or all of it without groups."""

    extract: str

    @field_validator("extract")
    @classmethod
    def _is_pattern(cls, pattern: str) -> str:
        for text in pattern_mistakes(pattern):
            raise ValueError(text)
        return pattern


class SplitStep(Declaration):
    """Text becomes a list; space around the entries and empty ones go."""

    split: Text = Field(examples=[";"])


class JoinStep(Declaration):
    """A list becomes text with this between the entries."""

    join: str = Field(examples=[", "])


class PadStep(Declaration):
    """Shorter texts are filled up at their beginning."""

    class Padding(Declaration):
        to: int = Field(ge=1, le=1000, examples=[5])
        """How many characters there are then."""
        with_: str = Field(default="0", alias="with", min_length=1, max_length=1)
        """The character to fill up with."""

    pad: Padding = Field(examples=[{"to": 5, "with": "0"}])


class _TimeStep(Declaration):
    zone: Zone | None = None
    """IANA name of the time zone of times that bear no offset; without it, the sync's."""
    pivot: int | None = Field(default=None, ge=0, le=99)
    """The last year that `%y` takes for one of the 2000s; later ones are of the 1900s."""

    @property
    def form(self) -> str:
        """The format of the times."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _pivot_is_of_short_years(self) -> Self:
        if self.pivot is not None and "%y" not in self.form:
            raise located([(("pivot",), "goes with %y, a year of two digits; take it out")])
        return self


class DateStep(_TimeStep):
    """A calendar date: of `iso`, `epoch`, `epoch_ms`, `excel` or a format."""

    date: str = Field(examples=["%d.%m.%Y"])

    @property
    def form(self) -> str:
        return self.date

    @field_validator("date")
    @classmethod
    def _is_format(cls, text: str) -> str:
        check_format(text, with_time=False)
        return text


class TimestampStep(_TimeStep):
    """An instant: of `iso`, `epoch`, `epoch_ms`, `excel` or a format."""

    timestamp: str = Field(examples=["%d.%m.%Y %H:%M"])

    @property
    def form(self) -> str:
        return self.timestamp

    @field_validator("timestamp")
    @classmethod
    def _is_format(cls, text: str) -> str:
        check_format(text, with_time=True)
        return text


class MinorUnitsStep(Declaration):
    """Whole cents become euros: by the number of digits, or by a currency's code."""

    minor_units: int | str = Field(examples=[2, "EUR"])

    @field_validator("minor_units", mode="before")
    @classmethod
    def _are_digits(cls, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError("must be the number of digits, or a currency's code such as EUR")
        if isinstance(value, int) and not 0 <= value <= 4:
            raise ValueError(
                "must be between 0 and 4, the digits that a decimal has after the point"
            )
        if isinstance(value, str):
            minor_digits(value)
        return value

    @property
    def digits(self) -> int:
        """How many digits stand after the point."""
        units = self.minor_units
        return minor_digits(units) if isinstance(units, str) else units


class NumberStep(Declaration):
    """A number as people write it, with its decimal mark and separators of thousands."""

    number: Literal["decimal_comma", "decimal_point"]


_MODELS: dict[str, type[Declaration]] = {
    "map": MapStep,
    "default": DefaultStep,
    "replace": ReplaceStep,
    "extract": ExtractStep,
    "split": SplitStep,
    "join": JoinStep,
    "pad": PadStep,
    "date": DateStep,
    "timestamp": TimestampStep,
    "minor_units": MinorUnitsStep,
    "number": NumberStep,
}
CONVERT_STEPS: tuple[str, ...] = (*WORDS, *_MODELS)
"""The names of all steps."""


def step_name(step: ConvertStep) -> str:
    """How the catalogue calls the step."""
    if isinstance(step, str):
        return step
    return next(name for name, model in _MODELS.items() if isinstance(step, model))


def _known(value: object) -> object:
    if (isinstance(value, str) and value in WORDS) or isinstance(value, Declaration):
        return value
    keys = list(cast("dict[str, object]", value)) if isinstance(value, dict) else [value]
    if isinstance(value, dict) and any(key in _MODELS for key in keys):
        return cast("object", value)
    word = keys[0] if len(keys) == 1 and isinstance(keys[0], str) else ""
    if word in _MODELS:
        raise ValueError(f"needs its argument: {{{word}: …}}")
    if word in WORDS:
        raise ValueError(f"takes no argument; write just {word}")
    near = did_you_mean(word, CONVERT_STEPS) if word else ""
    known = in_words([*WORDS, *(f"{{{name}: …}}" for name in _MODELS)], "or")
    raise ValueError(f"isn't a step; a step is {known}{near}")


def _tag(value: object) -> str:
    if isinstance(value, Declaration):
        return type(value).__name__
    if isinstance(value, dict):
        named = [model for name, model in _MODELS.items() if name in value]
        return named[0].__name__
    return "Word"


def gives_one_value(steps: Sequence[object]) -> bool:
    """Whether one of the steps makes one value of a list."""
    return any(step in ("first", "last") or isinstance(step, JoinStep) for step in steps)


ConvertStep = Annotated[
    Annotated[
        Annotated[Word, Tag("Word")]
        | Annotated[MapStep, Tag("MapStep")]
        | Annotated[DefaultStep, Tag("DefaultStep")]
        | Annotated[ReplaceStep, Tag("ReplaceStep")]
        | Annotated[ExtractStep, Tag("ExtractStep")]
        | Annotated[SplitStep, Tag("SplitStep")]
        | Annotated[JoinStep, Tag("JoinStep")]
        | Annotated[PadStep, Tag("PadStep")]
        | Annotated[DateStep, Tag("DateStep")]
        | Annotated[TimestampStep, Tag("TimestampStep")]
        | Annotated[MinorUnitsStep, Tag("MinorUnitsStep")]
        | Annotated[NumberStep, Tag("NumberStep")],
        Discriminator(_tag),
    ],
    BeforeValidator(_known),
]
