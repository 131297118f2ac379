"""Fingerprints of a catalogue: equal exactly when the declarations mean the same."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from profile_pipelines.catalog.models import Catalogue


def fingerprint(catalogue: Catalogue) -> str:
    """SHA-256 (hex) of everything that the catalogue declares; identifiers' order counts."""
    declared: dict[str, Any] = catalogue.model_dump(mode="json", by_alias=True)
    return _digest([declared, list(catalogue.identifiers)])


def merge_fingerprint(catalogue: Catalogue) -> str:
    """SHA-256 (hex) of what decides which records are one customer and which value wins."""
    attributes = {
        name: [attribute.type, attribute.sources, attribute.merge]
        for name, attribute in catalogue.attributes.items()
    }
    identifiers = [
        [name, identifier.normalise, sorted(identifier.deny)]
        for name, identifier in catalogue.identifiers.items()
    ]
    return _digest([attributes, identifiers, catalogue.settings.max_cluster])


def _digest(declared: object) -> str:
    return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()
