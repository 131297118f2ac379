"""The steps that bring an identifier's spellings to one form, as the catalogue names them."""

from __future__ import annotations

from typing import Annotated, Literal, cast, get_args

from pydantic import PlainValidator

from profile_pipelines.catalog.mistakes import did_you_mean, in_words
from profile_pipelines.catalog.plain_words import located
from profile_pipelines.catalog.telephones import is_region

StepName = Literal["trim", "upper", "lower", "nfkc", "digits", "email", "strip_leading_zeros"]
STEP_NAMES: tuple[str, ...] = get_args(StepName)


def _step(value: object) -> str | dict[str, str]:
    if isinstance(value, str) and value in STEP_NAMES:
        return value
    if isinstance(value, dict):
        step = cast(dict[object, object], value)
        prefix = step.get("strip_prefix")
        if "strip_prefix" in step and not (isinstance(prefix, str) and prefix):
            raise located([(("strip_prefix",), "must be the text to strip; put it in quotes")])
        if len(step) == 1 and isinstance(prefix, str) and prefix:
            return {"strip_prefix": prefix}
        region = step.get("phone")
        if "phone" in step and not (isinstance(region, str) and is_region(region)):
            text = "must be the country of national numbers, such as DE (quote NO)"
            raise located([(("phone",), text)])
        if len(step) == 1 and isinstance(region, str):
            return {"phone": region}
    known = in_words([*STEP_NAMES, "{strip_prefix: C-}", "{phone: DE}"], "or")
    names = [*STEP_NAMES, "strip_prefix", "phone"]
    near = did_you_mean(value, names) if isinstance(value, str) else ""
    raise ValueError(f"isn't a step; a step is {known}{near}")


_Keyed = dict[Literal["strip_prefix", "phone"], str]
NormaliseStep = Annotated[
    str | dict[str, str], PlainValidator(_step, json_schema_input_type=StepName | _Keyed)
]
