"""Delta tables, each a change log and a snapshot."""

from profile_pipelines.lake.lake import Lake
from profile_pipelines.lake.table import CHANGE_COLUMNS, LakeTable, Pinned

__all__ = ["CHANGE_COLUMNS", "Lake", "LakeTable", "Pinned"]
