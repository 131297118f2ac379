"""Incremental resolution against resolving everything anew."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sqlglot import exp

from profile_pipelines.catalog.mapped_fields import further_column
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine import DuckDBEngine
from profile_pipelines.engine.sql import named
from profile_pipelines.errors import LakeError
from profile_pipelines.identity import IdentitiesResult, resolve
from profile_pipelines.lake import Lake
from profile_pipelines.lake.lake import FURTHER_OF, record_block
from profile_pipelines.lake.table import LakeTable, Rows
from profile_pipelines.validation.records import QUARANTINE
from profile_pipelines_tests.identity.model import (
    Partition,
    Rules,
    expected_partition,
    identity_rules,
    shared_values,
)
from profile_pipelines_tests.strategies import EPOCH, Identified, identity_steps

ENGINE = DuckDBEngine(threads=1)
SYSTEMS = ("crm", "shop")
IDENTIFIERS = ("id_strong", "id_weak", "id_other")


JOINING = Rules(per_profile=(None, None, None))
"""Whatever records share an identifier are one."""


MANY = ("weak", "other")
"""The identifiers of which a record may have several values, where a test has such records."""


def _catalogue(
    rules: Rules, systems: tuple[str, ...] = SYSTEMS, many: tuple[str, ...] = ()
) -> Catalogue:
    identifiers = ("strong", "weak", "other")
    return TypeAdapter(Catalogue).validate_python(
        {
            "settings": {"max_cluster": rules.cluster},
            "identifiers": {
                name: {"per_profile": per_profile or "unlimited", "profiles": profiles}
                for name, per_profile, profiles in zip(
                    identifiers, rules.per_profile, rules.profiles, strict=True
                )
            },
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
                            "key": "key",
                            "identifiers": {
                                name: {"field": name, "many": name in many} for name in identifiers
                            },
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

    def __init__(self, folder: Path, rules: Rules = JOINING, many: tuple[str, ...] = ()) -> None:
        self.lake = Lake(folder, ENGINE)
        self.catalogue = _catalogue(rules, many=many)
        self.further = [further_column(name) for name in many]
        self.records: dict[int, Identified] = {}
        self.runs = 0

    def write(
        self,
        step: Mapping[int, Identified | None],
        further: Mapping[int, Sequence[Sequence[str]]] | None = None,
    ) -> None:
        """Write records (None: it goes); `further` are their values beside the first ones, a list
        for each identifier that may have several."""
        beside = further or {}
        for parity, system in enumerate(SYSTEMS):
            rows = [
                {
                    "record_id": _record_id(number),
                    "record_key": str(number),
                    **dict(zip(IDENTIFIERS, record or [None] * 3, strict=True)),
                    **dict(zip(self.further, beside.get(number, ()), strict=False)),
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
                    **dict.fromkeys(self.further, pl.List(pl.String)),
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
        return {
            row["record_id"] % 1000: (row["profile_id"], row["held_apart"])
            for row in self.identities()
            if row[FURTHER_OF] is None
        }

    def identities(self) -> list[dict[str, Any]]:
        """All rows of the identities, also those of further values."""
        pinned = self.lake.identities(self.catalogue).pin()
        rows = pinned.current(pinned.table.columns, "i")
        return ENGINE.query(rows.sql, rows.relations).to_pylist()

    def resolve_anew(self) -> IdentitiesResult:
        """Resolve all records, as after a change of the rules."""
        pinned = self.lake.identities(self.catalogue).pin()
        state = {**pinned.state, "fingerprint": "of other rules"}
        pinned.commit(ENGINE, None, now=EPOCH, run_id="other rules", state=state)
        return self.resolve()

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
@given(identity_steps(), identity_rules())
def test_step_by_step_gives_the_partition_of_all_at_once(
    steps: list[dict[int, Identified | None]], rules: Rules
) -> None:
    """After every step the profiles are those of a naive union; ids stay with their customers."""
    with tempfile.TemporaryDirectory() as folder:
        world = _World(Path(folder), rules)
        before: Ids = {}
        old: dict[int, Identified] = {}
        everyone: set[int] = set()
        for step in steps:
            world.write(step)
            result = world.resolve()
            expected = expected_partition(world.records, rules)
            assert world.partition() == expected
            assert list(result.shared.values()) == shared_values(world.records, expected)
            ids = world.profile_ids()
            assert result.records == len(ids)
            assert result.held_apart == sum(held for _, held in ids.values())
            assert result.profiles == len({i for i, _ in ids.values() if i is not None})
            fresh = {i for i, _ in ids.values() if i is not None} - everyone
            assert not fresh or min(fresh) > max(everyone, default=0)
            everyone |= fresh
            _check_stable(old, before, world, ids)
            before, old = ids, dict(world.records)


@settings(max_examples=10, deadline=None)
@given(identity_steps(), identity_rules(), st.data())
def test_lists_that_change_step_by_step_give_the_partition_of_all_at_once(
    steps: list[dict[int, Identified | None]], rules: Rules, data: st.DataObject
) -> None:
    """Values come to records, change places and go; resolving all anew then changes nothing."""
    several = st.lists(st.integers(1, 6), max_size=3, unique=True)
    with tempfile.TemporaryDirectory() as folder:
        world = _World(Path(folder), rules, MANY)
        lists: dict[int, list[list[str]]] = {}
        for step in steps:
            written: dict[int, Identified | None] = {}
            for number, record in step.items():
                weak, other = ([f"{c}{n}" for n in data.draw(several)] for c in "wo")
                found = Identified(
                    record and record.strong, next(iter(weak), None), next(iter(other), None)
                )
                written[number] = found if record and any(found) else None
                lists[number] = [weak[1:], other[1:]] if written[number] else [[], []]
            world.write(written, lists)
            result = world.resolve()
            rows, of = dict(world.records), dict[int, int]()
            for number in world.records:
                for stage, values in enumerate(lists[number], start=1):
                    for value in values:
                        of[1000 + len(of)] = number
                        rows[999 + len(of)] = Identified(
                            *(value if n == stage else None for n in range(3))
                        )
            expected = expected_partition(rows, rules, of)
            assert world.partition() == {
                number: (members - set(of), held)
                for number, (members, held) in expected.items()
                if number not in of
            }
            assert list(result.shared.values()) == shared_values(rows, expected)
            identities = world.identities()
            ids = world.profile_ids()
            assert len(identities) == len(rows)
            for row in identities:
                whose = row[FURTHER_OF] or row["record_id"]
                assert (row["profile_id"], row["held_apart"]) == ids[whose % 1000]
        assert world.resolve_anew() == replace(result, changed=0)


Ids = dict[int, tuple[int | None, bool]]


def _check_stable(old: dict[int, Identified], before: Ids, world: _World, after: Ids) -> None:
    """A profile whose records haven't changed keeps its id. An old id follows the strongest
    identifier that its profile had; where nobody has that, it stays with one of the records."""
    groups_before = _groups(before)
    for profile, members in _groups(after).items():
        same = next((p for p, group in groups_before.items() if group == members), None)
        if same is not None and all(old[n] == world.records[n] for n in members):
            assert profile == same
        if profile in groups_before:
            left = groups_before[profile]
            strongest = _strongest(old, before, left)
            heirs = [
                (kind, value)
                for kind, value in strongest
                if len(_profiles_with(world.records, after, kind, value)) == 1
            ]
            if heirs:
                assert any(
                    world.records[n][kind] == value for n in members for kind, value in heirs
                )
            elif left & set(after):
                assert members & left


def _strongest(records: dict[int, Identified], ids: Ids, members: set[int]) -> set[tuple[int, str]]:
    for kind in range(3):
        values = {value for n in members if (value := records[n][kind]) is not None}
        own = {
            (kind, each) for each in values if len(_profiles_with(records, ids, kind, each)) == 1
        }
        if own:
            return own
    return set()


def _profiles_with(
    records: dict[int, Identified], ids: Ids, kind: int, value: str
) -> set[int | None]:
    """The profiles of the records that bear a value; None stands for those without one."""
    found = {ids[n][0] for n, record in records.items() if record[kind] == value}
    return {None, 0} if None in found else found


def _groups(ids: Ids) -> dict[int, set[int]]:
    groups: dict[int, set[int]] = {}
    for number, (profile, _) in ids.items():
        if profile is not None:
            groups.setdefault(profile, set()).add(number)
    return groups


def test_a_second_resolution_writes_nothing(tmp_path: Path) -> None:
    """Without changes there is no new version and no new file."""
    world = _World(tmp_path)
    world.write({1: Identified("s1", None, None), 2: Identified("s1", "w1", None)})
    world.resolve()
    files = sorted(tmp_path.rglob("*"))
    assert world.resolve().changed == 0
    assert sorted(tmp_path.rglob("*")) == files


def test_a_joined_profile_keeps_the_least_id(tmp_path: Path) -> None:
    """When two customers turn out to be one, the older id stays and the other one goes."""
    world = _World(tmp_path)
    world.write({1: Identified("s1", None, None), 2: Identified("s2", None, None)})
    world.resolve()
    assert sorted(world.profile_ids().values()) == [(1, False), (2, False)]
    world.write({3: Identified("s1", "w1", None), 2: Identified("s2", "w1", None)})
    result = world.resolve()
    assert {profile for profile, _ in world.profile_ids().values()} == {1}
    assert (result.records, result.profiles, result.changed) == (3, 1, 2)


def test_a_join_that_was_a_mistake_leaves_no_trace(tmp_path: Path) -> None:
    """Whatever their numbers, customers who were joined by a mistyped value are who they were."""
    world = _World(tmp_path)
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
        world = _World(Path(folder))
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
    world = _World(tmp_path)
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
    world = _World(tmp_path)
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


def test_a_customer_number_keeps_its_profile_whatever_the_address(tmp_path: Path) -> None:
    """Whoever came first, the id goes with the number, also where the record is another one."""
    world = _World(tmp_path, Rules())
    world.write({1: Identified(None, "old@", None)})
    world.resolve()
    world.write({2: Identified("s1", "old@", None), 3: Identified("s3", None, None)})
    world.resolve()
    assert world.profile_ids() == {1: (1, False), 2: (1, False), 3: (2, False)}
    world.write({2: Identified("s1", "new@", None)})
    world.resolve()
    assert world.profile_ids() == {1: (3, False), 2: (1, False), 3: (2, False)}
    world.write({2: None, 3: None, 5: Identified("s1", "next@", None)})
    world.resolve()
    assert world.profile_ids() == {1: (3, False), 5: (1, False)}


def test_a_mailbox_of_a_couple_joins_nobody(tmp_path: Path) -> None:
    """It belongs to both, a record with nothing else to neither, until one of them leaves it."""
    world = _World(tmp_path, Rules())
    world.write({n: Identified(f"s{n}", "both@", None) for n in (1, 2)})
    world.write({3: Identified(None, "both@", None), 4: Identified(None, "both@", "phone")})
    result = world.resolve()
    assert world.profile_ids() == {1: (1, False), 2: (2, False), 3: (None, True), 4: (3, False)}
    assert (result.held_apart, result.shared) == (1, {"strong": 0, "weak": 1, "other": 0})
    world.write({2: Identified("s2", "own@", None)})
    result = world.resolve()
    assert {world.profile_ids()[n][0] for n in (1, 3, 4)} == {1}
    assert (result.held_apart, result.shared) == (0, {"strong": 0, "weak": 0, "other": 0})


def test_who_leaves_a_shared_mailbox_leaves_nothing_to_the_other(tmp_path: Path) -> None:
    """A new customer with the mailbox of one who is gone isn't that one."""
    world = _World(tmp_path, Rules())
    world.write({n: Identified(f"s{n}", "both@", None) for n in (1, 2)})
    world.resolve()
    world.write({1: None, 2: None})
    world.resolve()
    world.write({5: Identified("s5", "both@", None), 7: Identified("s2", None, None)})
    world.resolve()
    assert world.profile_ids() == {5: (3, False), 7: (2, False)}


def test_who_comes_back_takes_no_living_profile(tmp_path: Path) -> None:
    """An id that lives on with other records stays with them, and so does that of who joins."""
    world = _World(tmp_path)
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
    world = _World(tmp_path, replace(JOINING, cluster=2))
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
    world = _World(tmp_path, replace(JOINING, cluster=3))
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
    world = _World(tmp_path)
    world.write({n: Identified(f"s{n}", "w1", None) for n in range(1, 6)})
    assert world.resolve().profiles == 1
    world.catalogue = _catalogue(replace(JOINING, cluster=3))
    assert world.resolve().profiles == 5
    world.catalogue = _catalogue(JOINING, ("crm",))
    result = world.resolve()
    assert (result.records, result.profiles) == (2, 1)
    world.catalogue = _catalogue(JOINING)
    result = world.resolve()
    assert (result.records, result.profiles) == (5, 1)


def test_the_identities_of_an_older_version_go_on(tmp_path: Path) -> None:
    """They have neither marks of what is shared nor further values; a customer keeps the id by the
    strongest identifier, as with those that were resolved since."""
    world = _World(tmp_path, Rules())
    records = {
        1: Identified(None, "old@", None),
        2: Identified("s2", "old@", None),
        3: Identified("s3", "both@", None),
        4: Identified("s4", "both@", None),
    }
    world.write(records)
    table = world.lake.identities(world.catalogue)
    columns = {
        name: type_
        for name, type_ in table.columns.items()
        if name not in ("shared_identifiers", FURTHER_OF)
    }
    stored = pl.DataFrame(
        [
            {
                "record_id": _record_id(number),
                **dict(zip(IDENTIFIERS, record, strict=True)),
                "profile_id": profile,
                "held_apart": False,
                "previous_profile_id": None,
                "removed": False,
            }
            for (number, record), profile in zip(records.items(), (1, 1, 2, 2), strict=True)
        ],
        schema_overrides=dict.fromkeys(IDENTIFIERS, pl.String) | {"previous_profile_id": pl.Int64},
    )
    LakeTable(world.lake.root, table.name, table.key, columns).pin().commit(
        ENGINE,
        Rows(exp.select(exp.Star()).from_(named("given")), {"given": stored.to_arrow()}),
        now=EPOCH,
        run_id="of an older version",
        state={"next_profile_id": 3, "totals": [4, 2, 0], "fingerprint": "older", "inputs": {}},
    )
    result = world.resolve()
    ids = world.profile_ids()
    assert (ids[1], ids[2], ids[4]) == ((1, False), (1, False), (3, False))
    assert (result.profiles, result.shared) == (3, {"strong": 0, "weak": 1, "other": 0})
    world.write({2: None, 5: Identified("s2", "new@", None)})
    world.resolve()
    assert world.profile_ids() == {1: (4, False), 5: (1, False), 3: (2, False), 4: (3, False)}


def test_two_syncs_never_share_record_numbers(tmp_path: Path) -> None:
    """Names whose record numbers coincide are refused before any record is mistaken."""
    seen: dict[int, str] = {}
    names = (f"s{number}" for number in itertools.count())
    second = next(
        name for name in names if seen.setdefault(record_block(name, "people"), name) != name
    )
    first = seen[record_block(second, "people")]
    catalogue = _catalogue(JOINING, (first, second))
    with pytest.raises(LakeError, match=f"{first}/people and {second}/people"):
        resolve(catalogue, Lake(tmp_path, ENGINE), now=EPOCH, run_id="r")
