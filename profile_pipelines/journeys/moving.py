"""Moves the enrolments of one version through its steps, all at once and without writing.

Every frame has a row for each enrolment: `id`, `profile_id`, `holdout`, `step`, `arrived_at`
(UTC), `converted`, `exists now`, `member now`, `zone` (the time zone by whose clock they are
moved), and the answers to the journey's questions: true, false, or NULL where a stale value
decides. Who depends on such a value stays where they are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from profile_pipelines.catalog.conditions import Condition
from profile_pipelines.catalog.journeys import Journey, Moment
from profile_pipelines.catalog.local_time import later
from profile_pipelines.journeys.chance import share_of
from profile_pipelines.journeys.clock import INSTANT, due_at, each_once, late_from
from profile_pipelines.journeys.program import END, Node

EXITS = {"exit_when": "exit when", "consent": "withdrawn"}
"""By reason: the answer for which one leaves, or doesn't come in at all."""
_ARRIVED = pl.col("arrived_at")


@dataclass
class Moved:
    """What becomes of the enrolments of a version in one tick."""

    exits: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """By reason: the enrolments that leave."""
    places: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """By path, or END: the enrolments that are somewhere else now."""
    converted: list[int] = field(default_factory=list[int])
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    events: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    """By (path, event, reason): how many enrolments."""
    next_due: datetime | None = None
    """When the first of those who wait for a time is let on; None where nobody does."""
    held: int = 0
    """Enrolments that stay because a value that decides is stale."""


class Moving:
    """One version of a journey at one moment."""

    def __init__(self, journey: Journey, version: int, nodes: list[Node], now: datetime) -> None:
        self._journey = journey
        self._version = version
        self._nodes = nodes
        self._now = now
        self._arrivals: dict[str, list[pl.DataFrame]] = {}
        self._moved = Moved()

    def move(self, frame: pl.DataFrame, new: pl.DataFrame) -> Moved:
        """Where those go who are in the journey, and those who are `new` at its first step."""
        fresh = [pl.lit(None, INSTANT).alias("due_at"), pl.lit(False).alias("late")]
        frame, new = frame.with_columns(fresh), new.with_columns(fresh)
        self._convert(frame)
        staying = self._leave(frame)
        if "exit when" in frame.columns:
            staying = self._held(staying, pl.col("exit when"))
            undecided = new.filter(pl.col("exit when").is_null())
            new = self._held(new, pl.col("exit when"))
            self._moved.events[self._nodes[0].path, "entered", ""] += len(undecided)
            self._stand(self._nodes[0].path, undecided)
        parts = staying.partition_by("step", as_dict=True)
        by_step = {str(key[0]): part for key, part in parts.items()}
        self._arrive(self._nodes[0].path, new)
        self._arrive(END, by_step.get(END, staying.clear()))  # taken over from an older version
        for node in self._nodes:
            here = by_step.get(node.path)
            if here is not None:
                self._at(node, here)
            came = self._arrivals.pop(node.path, [])
            if came:
                arrived = pl.concat(came).with_columns(arrived_at=self._moment)
                self._moved.events[node.path, "entered", ""] += len(arrived)
                self._stand(node.path, self._at(node, arrived))
        for through in self._arrivals.pop(END, []):
            self._stand(END, through)
        return self._moved

    def _stand(self, path: str, frame: pl.DataFrame) -> None:
        """Those who have come to a step and stay there."""
        if len(frame):
            self._moved.places.setdefault(path, []).extend(frame["id"].to_list())

    @property
    def _moment(self) -> pl.Expr:
        return pl.lit(self._now).dt.convert_time_zone("UTC").dt.cast_time_unit("us")

    def _convert(self, frame: pl.DataFrame) -> None:
        if "goal reached" in frame.columns:
            reached = frame.filter(pl.col("goal reached").fill_null(False) & ~pl.col("converted"))
            self._moved.converted = reached["id"].to_list()
            for step, count in reached.group_by("step").len().iter_rows():
                self._moved.events[step, "converted", ""] += count

    def _leave(self, frame: pl.DataFrame) -> pl.DataFrame:
        tests: list[tuple[str, pl.Expr]] = [("gone", ~pl.col("exists now"))]
        for reason, answer in EXITS.items():
            if answer in frame.columns:
                tests.append((reason, pl.col(answer).fill_null(False)))
        if self._journey.leave_with_audience:
            tests.append(("left_audience", ~pl.col("member now").fill_null(True)))
        for reason, test in tests:
            leaving = frame.filter(test)
            if len(leaving):
                self._moved.exits[reason] = leaving["id"].to_list()
                for step, count in leaving.group_by("step").len().iter_rows():
                    self._moved.events[step, "exited", reason] += count
                frame = frame.filter(~test)
        return frame

    def _held(self, frame: pl.DataFrame, answer: pl.Expr) -> pl.DataFrame:
        known = frame.filter(answer.is_not_null())
        self._moved.held += len(frame) - len(known)
        return known

    def _arrive(self, path: str, frame: pl.DataFrame) -> None:
        if len(frame):
            self._arrivals.setdefault(path, []).append(frame)

    def _at(self, node: Node, frame: pl.DataFrame) -> pl.DataFrame:
        """Send those on who are at a step; who stays there."""
        step = node.step
        if step.send is not None:
            self._send(node, frame)
            return frame.clear()
        if step.wait is not None:
            return self._wait(node, frame)
        if step.branch is not None:
            return self._branch(node, frame)
        ways = list(zip(step.split or (), node.ways, strict=True))
        chance = pl.Series(share_of(frame["profile_id"].to_numpy(), self._place(node)))
        low = 0.0
        for number, (way, leads) in enumerate(ways, 1):
            high = 1.0 if number == len(ways) else low + way.share
            self._arrive(leads, frame.filter((chance >= low) & (chance < high)))
            low = high
        return frame.clear()

    def _place(self, node: Node) -> str:
        return f"{self._journey.journey} split {node.path}"

    def _send(self, node: Node, frame: pl.DataFrame) -> None:
        send = node.step.send
        assert send is not None
        lasts = send.expire_after if send.expire_after is not None else self._journey.expire_after
        expiry = cache(lambda at, zone: later(at or self._now, lasts, ZoneInfo(zone)))
        columns = ("id", "profile_id", "holdout", "due_at", "late", "zone")
        for enrolment, profile_id, holdout, at, late, zone in frame.select(columns).iter_rows():
            expires = expiry(at, zone)
            expired = "expired" if expires <= self._now else None
            reason = "holdout" if holdout else "late" if late else expired
            self._moved.events[node.path, "skipped" if reason else "decided", reason or ""] += 1
            if reason is None:
                self._moved.messages.append(
                    {
                        "journey": self._journey.journey, "version": self._version,
                        "enrolment": enrolment, "step": node.path, "channel": send.channel,
                        "template": send.template, "consent": send.consent or self._journey.consent,
                        "profile_id": profile_id, "decided_at": self._now,
                        "next_attempt_at": self._now, "expires_at": expires,
                    }
                )  # fmt: skip
        self._arrive(node.next, frame.with_columns(due_at=pl.lit(None, frame["due_at"].dtype)))

    def _wait(self, node: Node, frame: pl.DataFrame) -> pl.DataFrame:
        wait = node.step.wait
        assert wait is not None
        until = wait.until
        answer = None
        value = pl.lit(None, pl.Date())
        if isinstance(until, Moment) and until.attribute is not None:
            answer = pl.col(f"date {node.path}")
            value = pl.when(answer).then(pl.col(until.attribute))
        elif isinstance(until, Condition):
            answer = pl.col(f"until {node.path}")
        if answer is not None:
            self._moved.held += frame.select(answer.is_null().sum()).item()
        timed = frame.with_columns(value.alias("until value"))
        due = each_once(
            timed,
            ["until value", "arrived_at", "zone"],
            lambda value, arrived, zone: due_at(wait, value, arrived, ZoneInfo(zone)),
        )
        too_late = each_once(
            timed,
            ["until value", "zone"],
            lambda value, zone: late_from(wait, value, ZoneInfo(zone)),
        )
        late = (pl.lit(too_late) <= _ARRIVED).fill_null(False)
        timed = timed.drop("until value").with_columns(due.alias("due_at"), late.alias("late"))
        if isinstance(until, Condition):
            holds = pl.when(pl.col(f"until {node.path}")).then(self._moment)
            timed = timed.with_columns(due_at=pl.min_horizontal(holds, "due_at"))
        ready = (pl.col("due_at") <= self._now).fill_null(False)
        self._let_on(node, timed.filter(ready))
        waiting = timed.filter(~ready)
        first: datetime | None = waiting.select(pl.col("due_at").min()).item()
        if first is not None:
            self._moved.next_due = min(first, self._moved.next_due or first)
        return waiting

    def _let_on(self, node: Node, ready: pl.DataFrame) -> None:
        """Those go on whose wait is over; of who came too late for it, as it is declared."""
        wait = node.step.wait
        assert wait is not None
        mode = wait.late or "skip"
        late = ready.filter("late")
        if len(late):
            self._moved.events[node.path, "late", mode] += len(late)
        if mode == "end":
            self._arrive(END, late)
            ready = ready.filter(~pl.col("late"))
        elif mode == "send":
            at = pl.when(~pl.col("late")).then("due_at")
            ready = ready.with_columns(due_at=at, late=pl.lit(False))
        self._arrive(node.next, ready)

    def _branch(self, node: Node, frame: pl.DataFrame) -> pl.DataFrame:
        """Each takes the first way that holds; who can't be told of a way before it waits."""
        waiting: list[pl.DataFrame] = []
        left = frame
        for number, (arm, leads) in enumerate(zip(node.step.branch or (), node.ways, strict=True)):
            if arm.when is None:
                self._arrive(leads, left)
                left = left.clear()
                break
            answer = pl.col(f"when {node.path} {number}")
            self._arrive(leads, left.filter(answer))
            waiting.append(left.filter(answer.is_null()))
            left = left.filter(~answer)
        self._arrive(node.next, left)
        held = pl.concat(waiting) if waiting else frame.clear()
        self._moved.held += len(held)
        return held
