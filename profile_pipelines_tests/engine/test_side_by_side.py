"""Questions that the engine answers at the same time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlglot import exp

from profile_pipelines.engine import DuckDBEngine
from profile_pipelines.engine.duckdb import ParquetFiles, Relation
from profile_pipelines.engine.sql import named

_ALL = exp.select(exp.Star()).from_(named("things"))


def test_answers_stand_in_order_and_names_are_each_questions_own(tmp_path: Path) -> None:
    """The same name stands for another table in each question, in memory or in files."""
    engine = DuckDBEngine(threads=1)
    relations: list[Relation] = []
    for number in range(24):
        table = pa.table({"number": [number]})
        if number % 2:
            relations.append(table)
        else:
            pq.write_table(table, tmp_path / f"{number}.parquet")
            files = [str(tmp_path / f"{number}.parquet")]
            relations.append(ParquetFiles(files, {"number": "integer", "later": "timestamp"}))

    def ask(relation: Relation) -> list[dict[str, Any]]:
        return engine.rows(_ALL, {"things": relation})

    answers = engine.side_by_side([partial(ask, each) for each in relations])
    assert [rows[0]["number"] for rows in answers] == list(range(24))
    assert answers == [ask(each) for each in relations]


def test_a_question_that_fails_says_so_and_leaves_the_engine_whole() -> None:
    """The first error is raised; who asks next is answered."""
    engine = DuckDBEngine(threads=1)
    things = pa.table({"number": [1]})
    unknown = exp.select("nothing").from_(named("things"))
    with pytest.raises(Exception, match="nothing"):
        engine.side_by_side(
            [partial(engine.rows, sql, {"things": things}) for sql in (_ALL, unknown, _ALL)]
        )
    assert engine.side_by_side([partial(engine.rows, _ALL, {"things": things})]) == [
        [{"number": 1}]
    ]


def test_questions_may_ask_side_by_side_themselves() -> None:
    """However many wait for others of their own, all are answered."""
    engine = DuckDBEngine(threads=1)
    one = partial(engine.rows, _ALL, {"things": pa.table({"number": [1]})})
    nested = partial(engine.side_by_side, [one] * 3)
    assert engine.side_by_side([nested] * 9) == [[[{"number": 1}]] * 3] * 9


def test_times_are_in_utc_on_every_side() -> None:
    """Each side has the engine's settings."""
    engine = DuckDBEngine(threads=1)
    zone = exp.select(exp.func("current_setting", exp.Literal.string("TimeZone")).as_("zone"))
    assert engine.side_by_side([partial(engine.rows, zone, {})] * 6) == [[{"zone": "UTC"}]] * 6
