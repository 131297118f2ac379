"""One sync from end to end: extract, validate, compare with what is known, commit."""

from profile_pipelines.landing.result import SyncResult
from profile_pipelines.landing.sync import sync

__all__ = ["SyncResult", "sync"]
