"""Runs one SQL text over lists of Parquet files and Arrow tables."""

from profile_pipelines.engine.duckdb import DuckDBEngine, Written
from profile_pipelines.engine.sql import column, literal, select_from

__all__ = ["DuckDBEngine", "Written", "column", "literal", "select_from"]
