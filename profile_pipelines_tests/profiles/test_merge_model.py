"""The whole way from deliveries to profiles against a plain model."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines.lake.table import Rows
from profile_pipelines.profiles.receipts import decide
from profile_pipelines_tests.company import catalogue
from profile_pipelines_tests.deliveries import Receiver
from profile_pipelines_tests.profiles.model import Records, expected_profiles
from profile_pipelines_tests.strategies import EPOCH, Update, splits, updates

SYSTEMS = ("crm", "billing", "shop")
DECLARED = catalogue(SYSTEMS, ("tier", "opt_in", "points", "since", "ends", "tags"))
LATER = EPOCH + timedelta(days=30)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(st.data())
def test_profiles_are_the_models_however_the_updates_arrive(data: st.DataObject) -> None:
    """Any order of arrival, split into any syncs, gives the same records, values and winners."""
    made = data.draw(updates(SYSTEMS))
    cuts = data.draw(splits(len(made)))
    with tempfile.TemporaryDirectory() as folder:
        receiver = Receiver(Path(folder), DECLARED)
        _deliver(receiver, made, cuts)
        assert _profiles(receiver) == expected_profiles(receiver.catalogue, made)


@pytest.mark.slow
@settings(max_examples=4, deadline=None)
@given(st.data())
def test_receipts_name_what_every_system_gave(data: st.DataObject) -> None:
    """Winners and losers are those of the rule in plain Python, with the winner's value."""
    made = data.draw(updates(SYSTEMS))
    with tempfile.TemporaryDirectory() as folder:
        receiver = Receiver(Path(folder), DECLARED)
        _deliver(receiver, made, data.draw(splits(len(made))))
        expected = expected_profiles(receiver.catalogue, made)
        ids = {records: number for number, records in _members(receiver).items()}
        for records, values in list(expected.items())[:2]:
            view = receiver.customers.profile(f"profile {ids[records]}", now=LATER)
            for name, (value, winners) in values.items():
                receipt = view.values[name].receipt
                assert receipt.value == value
                assert tuple(dict.fromkeys(each.system for each in receipt.winners)) == winners
                assert all(each.value is not None for each in receipt.losers)
                said: dict[str, list[Any]] = {}
                for each in (*receipt.winners, *receipt.losers):
                    said.setdefault(each.system, []).append((each.value, each.record_updated_at))
                attribute = receiver.catalogue.attributes[name]
                assert decide(attribute, said) == (value, winners)


def _deliver(receiver: Receiver, made: list[Update], cuts: list[int]) -> None:
    for number, (start, end) in enumerate(pairwise([0, *cuts, len(made)])):
        now = LATER + timedelta(hours=number)
        part = made[start:end]
        for system in SYSTEMS:
            rows = [
                {"id": each.key, "changed": each.changed.isoformat(), **each.values}
                for each in part
                if each.system == system
            ]
            if rows or not number:
                receiver.deliver(system, rows, now=now)
        receiver.settle(now=now)


def _members(receiver: Receiver) -> dict[int, Records]:
    catalogue, lake = receiver.catalogue, receiver.lake
    keys: dict[int, tuple[str, str]] = {}
    for system in SYSTEMS:
        rows = (
            lake.source(catalogue, system, "people").pin().current(["record_id", "record_key"], "s")
        )
        for row in _read(receiver, rows):
            assert row["record_id"] not in keys
            keys[row["record_id"]] = (system, row["record_key"])
    found: dict[int, set[tuple[str, str]]] = {}
    identities = lake.identities(catalogue).pin()
    for row in _read(receiver, identities.current(["record_id", "profile_id"], "i")):
        found.setdefault(row["profile_id"], set()).add(keys[row["record_id"]])
    return {number: frozenset(records) for number, records in found.items()}


def _profiles(receiver: Receiver) -> dict[Records, dict[str, tuple[Any, tuple[str, ...]]]]:
    members = _members(receiver)
    found = receiver.customers.profiles(provenance=True).to_arrow().to_pylist()
    assert {row["profile_id"] for row in found} == set(members)
    return {
        members[row["profile_id"]]: {
            name: (row[name], _in_order(row[f"{name}__from"]))
            for name in receiver.catalogue.attributes
        }
        for row in found
    }


def _in_order(words: str | None) -> tuple[str, ...]:
    found = set() if words is None else set(words.split(", "))
    return tuple(system for system in SYSTEMS if system in found)


def _read(receiver: Receiver, rows: Rows) -> list[dict[str, Any]]:
    return receiver.lake.engine.query(rows.sql, rows.relations).to_pylist()
