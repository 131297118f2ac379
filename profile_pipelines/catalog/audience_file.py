"""Reads one audience from a file that stands outside the catalogue, for a preview."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from profile_pipelines.catalog.conditions import check_condition
from profile_pipelines.catalog.draft import Place
from profile_pipelines.catalog.models import Audience, Catalogue
from profile_pipelines.catalog.plain_words import in_plain_words
from profile_pipelines.catalog.yaml_lines import MAX_BYTES, Document, YamlError, read_yaml
from profile_pipelines.errors import CatalogueError


def load_audience(path: Path, catalogue: Catalogue) -> Audience:
    """The audience in the file, checked against the catalogue's attributes and audiences.

    Raises CatalogueError with a line for every mistake.
    """
    try:
        with path.open("rb") as opened:
            document = read_yaml(opened.read(MAX_BYTES + 1))
    except OSError as error:
        raise CatalogueError([f"{path}: can't be read: {error.strerror}"]) from None
    except YamlError as error:
        place = Place(str(path), Document(lines={error.path: error.line}))
        raise CatalogueError([str(place.mistake(error.path, error.text))]) from None
    place = Place(str(path), document)
    content: object = document.data
    if not isinstance(content, dict):
        raise CatalogueError([str(place.mistake((), "must hold an audience: audience and where"))])
    found = [place.mistake(mistake.path, mistake.text) for mistake in document.mistakes]
    data = cast(dict[str, Any], content)
    try:
        audience = Audience.model_validate(data)
    except ValidationError as error:
        found += [place.mistake(at, text) for at, text in in_plain_words(error, data)]
        raise CatalogueError([str(mistake) for mistake in found]) from None
    found += [
        place.mistake(("where", *at), text)
        for at, text in check_condition(audience.where, catalogue.attributes, catalogue.audiences)
    ]
    if found:
        raise CatalogueError([str(mistake) for mistake in found])
    return audience
