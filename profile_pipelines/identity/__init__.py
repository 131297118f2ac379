"""Which records are one customer."""

from profile_pipelines.identity.resolve import IdentitiesResult, resolve

__all__ = ["IdentitiesResult", "resolve"]
