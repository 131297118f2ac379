"""Values that stand in the catalogue as text or as `{env: NAME}`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import cast

from pydantic import BaseModel

from profile_pipelines.catalog.declaration import Secret, Text
from profile_pipelines.errors import SourceError


def variables_of(declared: object, place: str) -> Iterator[tuple[str, str]]:
    """Each environment variable that a declaration reads, with the place where it is named."""
    match declared:
        case Secret():
            yield declared.env, place
        case BaseModel():
            for name in type(declared).model_fields:
                yield from variables_of(getattr(declared, name), f"{place}.{name}")
        case {"env": str() as name} if len(cast("dict[str, object]", declared)) == 1:
            yield name, place
        case dict():
            for key, each in cast("dict[str, object]", declared).items():
                yield from variables_of(each, f"{place}.{key}")
        case list() | tuple():
            for number, each in enumerate(cast("list[object]", declared)):
                yield from variables_of(each, f"{place}[{number}]")
        case _:
            return


def is_set(name: str) -> bool:
    """Whether the environment variable has a value."""
    return bool(os.environ.get(name))


def resolve(text: Text) -> str:
    """The text itself, or what the named environment variable holds at this moment.

    Raises `SourceError` that names the variable when it isn't set or is empty.
    """
    if not isinstance(text, Secret):
        return text
    value = os.environ.get(text.env)
    if not value:
        raise SourceError(
            f"the environment variable {text.env} isn't set; the catalogue reads it as "
            f"{{env: {text.env}}}: set it where this command runs"
        )
    return value
