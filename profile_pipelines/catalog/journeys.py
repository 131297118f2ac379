"""Journeys: who enters, the steps that they go through, and what makes them leave."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import time
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, model_validator

from profile_pipelines.catalog.caps import MessageCap
from profile_pipelines.catalog.conditions import Condition
from profile_pipelines.catalog.declaration import Declaration, Name, Share, Span
from profile_pipelines.catalog.mistakes import Path
from profile_pipelines.catalog.periods import Period
from profile_pipelines.catalog.send_times import WEEKDAYS, OpenHours


class Moment(Declaration):
    """What is waited for: a day of the profile's own, or a time of day, perhaps on a weekday."""

    attribute: Name | None = None
    """The date or timestamp attribute; `days` of the calendar, or `minutes`, are added to it."""
    days: int = 0
    minutes: int | None = None
    at: time = time(0)
    midnight: bool | None = None
    """Whether 00:00 was written: a timestamp keeps its time of day unless one is."""
    weekday: int | None = None
    """0 is Monday."""

    @classmethod
    def read(cls, value: object) -> object:
        """Read `contract_end_date - 7 days`, `09:00` and `monday 09:00`; leave the rest."""
        if not isinstance(value, str):
            return value
        day = r"(?P<weekday>[a-z]+)\s+" if value.split(" ")[0].lower() in WEEKDAYS else ""
        clock = re.fullmatch(rf"{day}(?P<hour>\d\d?):(?P<minute>\d\d)", value.strip().lower())
        if clock:
            try:
                at = time(int(clock["hour"]), int(clock["minute"]))
            except ValueError:
                raise ValueError("is no time of day; write for example 09:00") from None
            return Moment(at=at, weekday=WEEKDAYS.index(clock["weekday"]) if day else None)
        offset = re.fullmatch(
            r"(?P<name>[a-z][a-z0-9_]*)"
            r"(?:\s*(?P<sign>[+-])\s*(?P<count>\d{1,4})\s*(?P<unit>minute|hour|day|week)s?)?"
            r"(?:\s+at\s+(?P<hour>\d\d?):(?P<minute>\d\d))?",
            value.strip(),
        )
        if offset is None:
            raise ValueError(
                "must be a date or timestamp of the profile (contract_end_date - 7 days, "
                "visit_at - 3 hours), a time of day (09:00, monday 09:00) or a condition"
            )
        at = None
        if offset["hour"]:
            try:
                at = time(int(offset["hour"]), int(offset["minute"]))
            except ValueError:
                raise ValueError("is no time of day; write for example 09:00") from None
        count = int(offset["count"] or 0) * (-1 if offset["sign"] == "-" else 1)
        length = {"minute": 1, "hour": 60, "day": 1, "week": 7, None: 0}[offset["unit"]] * count
        exact = offset["unit"] in ("minute", "hour")
        if exact and at is not None:
            raise ValueError("hours before or after a moment have no time of day; leave out at")
        return Moment(
            attribute=offset["name"],
            days=0 if exact else length,
            minutes=length if exact else None,
            at=at or time(0),
            midnight=True if at == time(0) else None,
        )

    @property
    def keeps_time(self) -> bool:
        """Whether a timestamp's own time of day counts, since none is written."""
        return self.at == time(0) and not self.midnight


def _paths(value: object) -> object:
    """Let a path be written as a number: YAML reads `1: 2` so."""
    if not isinstance(value, dict):
        return value
    return {
        str(key): str(each) if isinstance(each, int) else each
        for key, each in cast(dict[object, object], value).items()
    }


def _until(value: object) -> object:
    if not isinstance(value, dict) or Moment.model_fields.keys() >= value.keys():
        return Moment.read(cast(object, value))  # as text, or as the ledger keeps it
    return Condition.model_validate(value)


class Send(Declaration):
    """Puts a message into the outbox."""

    channel: Name
    template: str
    expire_after: Span | None = None
    """How late it may be sent at most; the journey's when it isn't given."""
    consent: Name | None = None
    """The purpose of this message; the journey's when it isn't given."""
    transactional: bool | None = None
    """Whether the customer's own contract or order asks for it: no cap, quiet hours or marketing
    consent holds it back. Its purpose must be one that no other message has."""


class Wait(Declaration):
    """Waits for a length of time, until a moment, or until a condition holds."""

    for_: Span | None = Field(default=None, alias="for")
    until: Annotated[
        Condition | Moment | None, BeforeValidator(_until, json_schema_input_type=Any)
    ] = None
    at_most: Span | None = None
    """How long is waited for `until` at most."""
    late: Literal["skip", "send", "end"] | None = None
    """What becomes of who comes here when the customer's moment is over: `skip` (the default) goes
    on without the messages up to the next wait, `send` with them, `end` ends the journey."""

    @classmethod
    def read(cls, value: object) -> object:
        """Let `wait: 3 days` stand for its length."""
        return {"for": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.for_ is None) == (self.until is None):
            raise ValueError("needs either for (3 days) or until")
        if self.at_most is not None and self.until is None:
            raise ValueError("at_most belongs to until")
        moment = isinstance(self.until, Moment) and self.until.attribute is not None
        if self.late is not None and not moment:
            raise ValueError("late belongs to until a date or timestamp of the profile")
        return self


class Arm(Declaration):
    """One way of a branch; without `when` it is that of all others."""

    when: Condition | None = None
    then: list[Step] = []
    otherwise: list[Step] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.when is None) == (self.otherwise is None):
            raise ValueError("needs either when and then, or otherwise")
        return self

    @property
    def steps(self) -> list[Step]:
        """The steps of this way."""
        return self.then if self.otherwise is None else self.otherwise


class SplitArm(Declaration):
    """One way of a split, and the share of the profiles that take it."""

    share: Share
    then: list[Step] = []


class Step(Declaration):
    """One step; exactly one of its keys is given."""

    send: Send | None = None
    wait: Annotated[Wait | None, BeforeValidator(Wait.read, json_schema_input_type=Wait | str)] = (
        None
    )
    branch: list[Arm] | None = Field(default=None, min_length=1)
    """The first way whose condition holds is taken."""
    split: list[SplitArm] | None = Field(default=None, min_length=2)
    """The ways by chance, the same one for a profile whenever it comes."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [n for n in ("send", "wait", "branch", "split") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("a step is one of send, wait, branch and split")
        if self.branch and any(arm.when is None for arm in self.branch[:-1]):
            raise ValueError("only the last way of a branch can be otherwise")
        if self.split and abs(sum(arm.share for arm in self.split) - 1) > 1e-9:
            raise ValueError("the shares of a split make 100% together")
        return self


class Reentry(Declaration):
    """Whether one who has been through may enter again."""

    kind: Literal["never", "after", "always"]
    after: Span = Period(0, "second")

    @classmethod
    def read(cls, value: object) -> object:
        """Let `never`, `always` and `after 30 days` be written."""
        if value in ("never", "always"):
            return {"kind": value}
        if isinstance(value, str) and value.startswith("after "):
            return {"kind": "after", "after": value.removeprefix("after ")}
        if isinstance(value, dict | Reentry):
            return cast(object, value)
        raise ValueError("must be never, always or for example after 30 days")


class Mapping(Declaration):
    """Takes enrolments of an older version over into the one that is declared."""

    version: int = Field(alias="from", ge=1)
    """The older version, by the number that `journey status` and `journey diff` tell."""
    steps: Annotated[
        dict[str, str],
        BeforeValidator(_paths, json_schema_input_type=dict[str, str | int]),
    ] = Field(min_length=1)
    """By the path of a step there: that of the step here, or `end`."""


class Journey(Declaration):
    """What happens to the members of an audience, until a fact changes."""

    journey: Name = Field(examples=["renewal_reminder"])
    """The journey's name."""
    description: str = ""
    owner: str | None = None
    audience: Name | None = None
    """Who enters: those who become members of this audience."""
    enter_when: Condition | None = None
    """Who enters, in place of an audience: those for whom this comes to hold."""
    leave_with_audience: bool = False
    """Whether one who leaves the audience, or for whom `enter_when` no longer holds, leaves."""
    exit_when: Condition | None = None
    """Who leaves the journey, whichever step they are at."""
    goal: Condition | None = None
    """What counts as a success; it is counted, and nobody leaves for it."""
    consent: Name | None = None
    """The purpose that a customer must have consented to, at the moment of each message."""
    leave_with_consent: bool = False
    """Whether one who withdraws that consent leaves the journey; else messages are skipped."""
    holdout: Share = 0.0
    """The share that goes through every step without a message, to compare with."""
    reenter: Annotated[Reentry, BeforeValidator(Reentry.read, json_schema_input_type=str)] = (
        Reentry(kind="never")
    )
    """Whether those who have been through may enter again: never, always, after 30 days."""
    turned_away: Literal["watch", "forget"] | None = None
    """What becomes of who isn't let in, since `exit_when` holds or `reenter` says that it's too
    early: `watch` (the default) lets them in once that's over while they are members still."""
    launch: Literal["members", "newcomers"] = "members"
    """Who enters when the journey begins: today's members too, or only those who come later."""
    priority: int = 0
    """Where a cap lets only some messages through, those of the journey with the larger number go
    first."""
    cap: MessageCap | None = None
    """At most so many of this journey's messages for one customer, such as `2 per 7 days`."""
    window: OpenHours | None = None
    """When alone its messages are sent, such as `mon-fri 09:00-17:00`, by the customer's clock."""
    expire_after: Span = Period(2, "day")
    """How late a message may be sent at most."""
    mapping: Mapping | None = None
    """Who moves over from an older version; all others finish on the one they began with."""
    steps: list[Step] = Field(min_length=1)
    """What happens, in order."""

    @property
    def watches(self) -> bool:
        """Whether those who are turned away enter later."""
        return self.turned_away != "forget"

    @model_validator(mode="after")
    def _entered(self) -> Self:
        if (self.audience is None) == (self.enter_when is None):
            raise ValueError("needs either audience or enter_when")
        return self


def steps_of(journey: Journey) -> Iterator[tuple[Path, Step]]:
    """Every step with its place below the journey, outer ones first."""
    yield from _steps(journey.steps, ("steps",))


def _steps(steps: list[Step], path: Path) -> Iterator[tuple[Path, Step]]:
    for index, step in enumerate(steps):
        at = (*path, index)
        yield at, step
        for number, arm in enumerate(step.branch or ()):
            key = "then" if arm.otherwise is None else "otherwise"
            yield from _steps(arm.steps, (*at, "branch", number, key))
        for number, way in enumerate(step.split or ()):
            yield from _steps(way.then, (*at, "split", number, "then"))


def purposes_of(
    journey: Journey, *, transactional: bool
) -> Iterator[tuple[Path, Send, str | None]]:
    """Its messages of the one class or the other: where each stands, and the purpose that it or the
    journey names."""
    for path, step in steps_of(journey):
        send = step.send
        if send is not None and bool(send.transactional) == transactional:
            yield path, send, send.consent or journey.consent


def path_of(place: Path) -> str:
    """A step's path as people read it: its place below the journey, in numbers."""
    return ".".join(str(part) for part in place if isinstance(part, int))
