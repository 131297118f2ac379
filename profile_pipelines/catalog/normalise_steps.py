"""The steps that bring an identifier's spellings to one form, as the catalogue names them."""

from __future__ import annotations

from typing import Annotated, Literal, cast, get_args

from pydantic import PlainValidator

from profile_pipelines.catalog.mistakes import did_you_mean, in_words

StepName = Literal["trim", "upper", "lower", "nfkc", "digits", "email", "strip_leading_zeros"]
STEP_NAMES: tuple[str, ...] = get_args(StepName)


def _step(value: object) -> str | dict[str, str]:
    if isinstance(value, str) and value in STEP_NAMES:
        return value
    if isinstance(value, dict):
        step = cast(dict[object, object], value)
        prefix = step.get("strip_prefix")
        if len(step) == 1 and isinstance(prefix, str) and prefix:
            return {"strip_prefix": prefix}
    known = in_words([*STEP_NAMES, "{strip_prefix: C-}"], "or")
    near = did_you_mean(value, [*STEP_NAMES, "strip_prefix"]) if isinstance(value, str) else ""
    raise ValueError(f"isn't a step; a step is {known}{near}")


NormaliseStep = Annotated[
    str | dict[str, str],
    PlainValidator(_step, json_schema_input_type=StepName | dict[Literal["strip_prefix"], str]),
]
