"""Incremental resolution against resolving everything anew."""

from __future__ import annotations

import itertools
import tempfile
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine import DuckDBEngine
from profile_pipelines.engine.sql import named
from profile_pipelines.errors import LakeError
from profile_pipelines.identity import IdentitiesResult, resolve
from profile_pipelines.lake import Lake
from profile_pipelines.lake.lake import record_block
from profile_pipelines.lake.table import Rows
from profile_pipelines.validation.records import QUARANTINE
from profile_pipelines_tests.identity.model import Partition, expected_partition
from profile_pipelines_tests.strategies import EPOCH, Identified, identity_steps

ENGINE = DuckDBEngine(threads=1)
SYSTEMS = ("crm", "shop")
IDENTIFIERS = ("id_strong", "id_weak", "id_other")


def _catalogue(cap: int, systems: tuple[str, ...] = SYSTEMS) -> Catalogue:
    identifiers = ("strong", "weak", "other")
    return TypeAdapter(Catalogue).validate_python(
        {
            "settings": {"max_cluster": cap},
            "identifiers": {name: {} for name in identifiers},
            "attributes": {
                "status": {"type": "string", "sources": list(systems), "fresh_within": "1d"}
            },
            "systems": {
                system: {
                    "system": system,
                    "kind": "crm",
                    "connection": {"type": "sql", "url": "sqlite://"},
                    "syncs": {
                        "people": {
                            "table": "people",
                            "identifiers": {name: name for name in identifiers},
                            "attributes": {"status": "status"},
                        }
                    },
                }
                for system in systems
            },
        }
    )


class _World:
    """Source tables that a test writes itself: even numbers in the CRM, odd ones in the shop."""

    def __init__(self, folder: Path, cap: int) -> None:
        self.lake = Lake(folder, ENGINE)
        self.catalogue = _catalogue(cap)
        self.records: dict[int, Identified] = {}
        self.runs = 0

    def write(self, step: dict[int, Identified | None]) -> None:
        for parity, system in enumerate(SYSTEMS):
            rows = [
                {
                    "record_id": _record_id(number),
                    "record_key": str(number),
                    **dict(zip(IDENTIFIERS, record or [None] * 3, strict=True)),
                    "deleted": record is None,
                    "removed": False,
                }
                for number, record in step.items()
                if number % 2 == parity
            ]
            table = self.lake.source(self.catalogue, system, "people")
            frame = pl.DataFrame(
                rows,
                schema={
                    "record_id": pl.Int64,
                    "record_key": pl.String,
                    **dict.fromkeys(IDENTIFIERS, pl.String),
                    "deleted": pl.Boolean,
                    "removed": pl.Boolean,
                },
            ).with_columns(
                pl.lit(EPOCH).alias("updated_at"),
                pl.lit(None, pl.String).alias("status"),
                pl.lit(None, QUARANTINE).alias("quarantine"),
            )
            if rows:
                given_rows = Rows(
                    exp.select(exp.Star()).from_(named("given")), {"given": frame.to_arrow()}
                )
                table.pin().commit(ENGINE, given_rows, now=EPOCH, run_id="r", state={})
        self.records.update({n: r for n, r in step.items() if r is not None})
        for number, record in step.items():
            if record is None:
                self.records.pop(number, None)

    def resolve(self) -> IdentitiesResult:
        self.runs += 1
        now = EPOCH + timedelta(hours=self.runs)
        return resolve(self.catalogue, self.lake, now=now, run_id=f"run{self.runs}")

    def profile_ids(self) -> dict[int, tuple[int | None, bool]]:
        """By record number its profile's id, and whether it is held apart."""
        pinned = self.lake.identities(self.catalogue).pin()
        rows = pinned.current(["record_id", "profile_id", "held_apart"], "i")
        return {
            row["record_id"] % 1000: (row["profile_id"], row["held_apart"])
            for row in ENGINE.query(rows.sql, rows.relations).to_pylist()
        }

    def partition(self) -> Partition:
        ids = self.profile_ids()
        return {
            number: (
                frozenset(n for n, (other, _) in ids.items() if other == profile)
                if profile is not None
                else frozenset(),
                held,
            )
            for number, (profile, held) in ids.items()
        }


def _record_id(number: int) -> int:
    block = record_block(SYSTEMS[number % 2], "people")
    return block - block % 1000 + 1000 + number


@settings(max_examples=10, deadline=None)
@given(identity_steps(), st.sampled_from([2, 3, 4, 100]))
def test_step_by_step_gives_the_partition_of_all_at_once(
    steps: list[dict[int, Identified | None]], cap: int
) -> None:
    """After every step the profiles are those of a naive union; ids stay with their customers."""
    with tempfile.TemporaryDirectory() as folder:
        world = _World(Path(folder), cap)
        before: dict[int, tuple[int | None, bool]] = {}
        everyone: set[int] = set()
        for step in steps:
            world.write(step)
            result = world.resolve()
            expected = expected_partition(world.records, cap)
            assert world.partition() == expected
            ids = world.profile_ids()
            assert result.records == len(ids)
            assert result.held_apart == sum(held for _, held in ids.values())
            assert result.profiles == len({i for i, _ in ids.values() if i is not None})
            fresh = {i for i, _ in ids.values() if i is not None} - everyone
            assert not fresh or min(fresh) > max(everyone, default=0)
            everyone |= fresh
            _check_stable(before, ids)
            before = ids


def _check_stable(
    before: dict[int, tuple[int | None, bool]],
    after: dict[int, tuple[int | None, bool]],
) -> None:
    """A profile with the same records keeps its id; an old id stays with one of its records, as
    long as any lives."""
    groups_before = _groups(before)
    for profile, members in _groups(after).items():
        same = next((p for p, old in groups_before.items() if old == members), None)
        if same is not None:
            assert profile == same
        if groups_before.get(profile, set()) & set(after):
            assert members & groups_before[profile]


def _groups(ids: dict[int, tuple[int | None, bool]]) -> dict[int, set[int]]:
    groups: dict[int, set[int]] = {}
    for number, (profile, _) in ids.items():
        if profile is not None:
            groups.setdefault(profile, set()).add(number)
    return groups


def test_a_second_resolution_writes_nothing(tmp_path: Path) -> None:
    """Without changes there is no new version and no new file."""
    world = _World(tmp_path, 100)
    world.write({1: Identified("s1", None, None), 2: Identified("s1", "w1", None)})
    world.resolve()
    files = sorted(tmp_path.rglob("*"))
    assert world.resolve().changed == 0
    assert sorted(tmp_path.rglob("*")) == files


def test_a_joined_profile_keeps_the_least_id(tmp_path: Path) -> None:
    """When two customers turn out to be one, the older id stays and the other one goes."""
    world = _World(tmp_path, 100)
    world.write({1: Identified("s1", None, None), 2: Identified("s2", None, None)})
    world.resolve()
    assert sorted(world.profile_ids().values()) == [(1, False), (2, False)]
    world.write({3: Identified("s1", "w1", None), 2: Identified("s2", "w1", None)})
    result = world.resolve()
    assert {profile for profile, _ in world.profile_ids().values()} == {1}
    assert (result.records, result.profiles, result.changed) == (3, 1, 2)


def test_a_join_that_was_a_mistake_leaves_no_trace(tmp_path: Path) -> None:
    """Whatever their numbers, customers who were joined by a mistyped value are who they were."""
    world = _World(tmp_path, 100)
    for number in (9, 2, 5, 1):
        world.write({number: Identified(f"s{number}", f"w{number}", None)})
        world.resolve()
    before = world.profile_ids()
    assert [before[n][0] for n in (9, 2, 5, 1)] == [1, 2, 3, 4]
    world.write({2: Identified("s2", "w9", None), 1: Identified("s1", "w5", None)})
    world.resolve()
    assert world.profile_ids() == {9: before[9], 2: before[9], 5: before[5], 1: before[5]}
    world.write({5: Identified("s5", "w9", None)})
    world.resolve()
    assert world.profile_ids() == {**before, 2: before[9], 5: before[9]}
    world.write({n: Identified(f"s{n}", f"w{n}", None) for n in (1, 2, 5)})
    world.resolve()
    assert world.profile_ids() == before


@settings(max_examples=6, deadline=None)
@given(identity_steps(), st.data())
def test_joining_and_parting_again_changes_nobody(
    steps: list[dict[int, Identified | None]], data: st.DataObject
) -> None:
    """A record that joins any customers, and goes again, leaves every id as it was."""
    with tempfile.TemporaryDirectory() as folder:
        world = _World(Path(folder), 100)
        for step in steps:
            world.write(step)
            world.resolve()
        before = world.profile_ids()
        values = [[*{record[n] for record in world.records.values()}, None] for n in range(3)]
        joining = Identified(*(data.draw(st.sampled_from(each)) for each in values))
        if not any(joining):
            return
        world.write({998: joining})
        world.resolve()
        world.write({998: None})
        world.resolve()
        assert world.profile_ids() == before


def test_a_profile_that_parts_stays_with_who_has_had_it_longest(tmp_path: Path) -> None:
    """Who joined later leaves with a new id; an earlier one that somebody has is not taken."""
    world = _World(tmp_path, 100)
    world.write({n: Identified(f"s{n}", f"w{n}", None) for n in (8, 9)})
    world.resolve()
    before = world.profile_ids()
    world.write({2: Identified("s2", "w8", None), 4: Identified("s4", "w9", None)})
    world.resolve()
    world.write({2: Identified("s2", "w9", None)})
    world.resolve()
    assert world.profile_ids()[2] == before[9]
    world.write({2: Identified("s2", "w2", None)})
    world.resolve()
    after = world.profile_ids()
    assert (after[8], after[9], after[4]) == (before[8], before[9], before[9])
    assert after[2] == (3, False)


def test_who_comes_back_has_the_id_of_before(tmp_path: Path) -> None:
    """Deleted and put back, or put back as another record: the customer is the same for life."""
    world = _World(tmp_path, 100)
    world.write({n: Identified(f"s{n}", f"w{n}", None) for n in (1, 2, 3)})
    world.resolve()
    before = world.profile_ids()
    world.write({1: None, 2: None})
    world.resolve()
    world.write({1: Identified("s1", "new@", None), 5: Identified(None, "w2", None)})
    world.resolve()
    assert world.profile_ids() == {1: before[1], 5: before[2], 3: before[3]}
    world.write({3: None, 8: Identified(None, "w3", None), 10: Identified("s10", "w10", None)})
    world.resolve()
    assert world.profile_ids()[8] == before[3]  # in the same run
    assert world.profile_ids()[10] == (4, False)


def test_who_comes_back_takes_no_living_profile(tmp_path: Path) -> None:
    """An id that lives on with other records stays with them, and so does that of who joins."""
    world = _World(tmp_path, 100)
    world.write({1: Identified("s1", None, None), 2: Identified("s1", None, None)})
    world.write({3: Identified("s3", None, None), 4: Identified("s4", None, None)})
    world.resolve()
    before = world.profile_ids()
    world.write({1: None, 4: None})
    world.resolve()
    world.write({1: Identified("s9", None, None), 4: Identified("s3", None, None)})
    world.resolve()
    after = world.profile_ids()
    assert (after[2], after[3], after[4]) == (before[2], before[3], before[3])
    assert after[1] == (4, False)


def test_what_is_held_apart_comes_back_as_nobody_else(tmp_path: Path) -> None:
    """An address that many share brings nobody's id back, but the record itself does."""
    world = _World(tmp_path, 2)
    world.write({n: Identified(f"s{n}", "info@", None) for n in (1, 2, 3)})
    world.resolve()
    before = world.profile_ids()
    world.write({1: None, 2: None, 3: None})
    world.resolve()
    world.write({5: Identified("s5", "info@", None), 2: Identified("s2", None, None)})
    world.resolve()
    assert world.profile_ids() == {5: (4, False), 2: (before[2][0], False)}


def test_a_shared_address_above_the_cap_joins_nobody(tmp_path: Path) -> None:
    """A cluster that is too large is held apart: one profile for each strongest identifier."""
    world = _World(tmp_path, 3)
    world.write({n: Identified(f"s{n}", "info@", None) for n in range(1, 4)})
    assert world.resolve().held_apart == 0
    world.write({4: Identified("s4", "info@", None)})
    result = world.resolve()
    assert (result.profiles, result.held_apart) == (4, 4)
    world.write({2: Identified("s2", "own@", None)})
    result = world.resolve()
    assert (result.profiles, result.held_apart) == (2, 0)


def test_other_rules_resolve_everything_anew(tmp_path: Path) -> None:
    """Another cap, order of identifiers or set of systems holds for records that didn't change."""
    world = _World(tmp_path, 100)
    world.write({n: Identified(f"s{n}", "w1", None) for n in range(1, 6)})
    assert world.resolve().profiles == 1
    world.catalogue = _catalogue(3)
    assert world.resolve().profiles == 5
    world.catalogue = _catalogue(100, ("crm",))
    result = world.resolve()
    assert (result.records, result.profiles) == (2, 1)
    world.catalogue = _catalogue(100)
    result = world.resolve()
    assert (result.records, result.profiles) == (5, 1)


def test_two_syncs_never_share_record_numbers(tmp_path: Path) -> None:
    """Names whose record numbers coincide are refused before any record is mistaken."""
    seen: dict[int, str] = {}
    names = (f"s{number}" for number in itertools.count())
    second = next(
        name for name in names if seen.setdefault(record_block(name, "people"), name) != name
    )
    first = seen[record_block(second, "people")]
    catalogue = _catalogue(100, (first, second))
    with pytest.raises(LakeError, match=f"{first}/people and {second}/people"):
        resolve(catalogue, Lake(tmp_path, ENGINE), now=EPOCH, run_id="r")
