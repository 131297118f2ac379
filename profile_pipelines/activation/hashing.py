"""Identifiers as ad platforms match them: normalised, then hashed with SHA-256."""

from __future__ import annotations

from collections.abc import Mapping

from profile_pipelines.catalog.destinations import GoogleCustomerMatch, MetaAudience


def hashed_key(
    target: MetaAudience | GoogleCustomerMatch, values: Mapping[str, object]
) -> str | None:
    """The hashed identifiers of a customer, as one text; None where there is none."""
    raise NotImplementedError
