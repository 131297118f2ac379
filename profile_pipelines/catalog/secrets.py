"""Values that stand in the catalogue as text or as `{env: NAME}`."""

from __future__ import annotations

import os

from profile_pipelines.catalog.declaration import Secret, Text
from profile_pipelines.errors import SourceError


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
