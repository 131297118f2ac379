"""A journey in plain Python: what a tick does to a few customers, and what may be sent to them.

The journey is the one of `STEPS`; `leave_with_audience`, `leave_with_consent`, `reenter`,
`launch` and `turned_away` are as the model is made. Records are known by their keys, customers by
the profiles that identity has made of them, which the model is told by each run. All records of a
customer say the same. Days are those of Berlin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from profile_pipelines.ledger.clock import Seen

BERLIN = ZoneInfo("Europe/Berlin")
DAY = timedelta(days=1)
LENGTH = timedelta(hours=6)
EXPIRES = timedelta(hours=5)
FRESH = timedelta(minutes=2850)
"""How old what is known of a tier may be."""
SEND = {"send": {"channel": "hook", "template": "hello"}}
WAIT = {"wait": "6 hours"}
ANOTHER_DAY = {"wait": "1 day"}
UNTIL = {"wait": {"until": "ends - 1 day at 09:00"}}
STEPS: list[dict[str, Any]] = [
    SEND,
    WAIT,
    {"branch": [{"when": {"tier": {"is": "gold"}}, "then": [SEND]}, {"otherwise": [ANOTHER_DAY]}]},
    SEND,
    UNTIL,
    SEND,
]
NEXT = {"0": "1", "1": "2", "2.0.0": "3", "2.1.0": "3", "3": "4", "4": "5", "5": "end"}
SENDS = ("0", "2.0.0", "3", "5")
WAITS = ("1", "2.1.0", "4")
QUIET = "22:00 to 02:30"


def local(day: date, at: time = time()) -> datetime:
    """A time of day in Berlin."""
    return datetime.combine(day, at, BERLIN).astimezone(UTC)


def days_later(moment: datetime, days: int) -> datetime:
    """At the same time of day, by the clocks of Berlin."""
    there = moment.astimezone(BERLIN)
    return local(there.date() + days * DAY, there.time().replace(fold=0))


def quiet(now: datetime) -> bool:
    """Whether a clock in Berlin shows quiet hours."""
    clock = now.astimezone(BERLIN).time()
    return clock >= time(22) or clock < time(2, 30)


@dataclass(frozen=True)
class Facts:
    """What is known of a customer. The audience is of those who are active."""

    status: str = "prospect"
    tier: str | None = "gold"
    opt_in: bool | None = True
    gone: bool = False
    ends: date | None = None

    @property
    def member(self) -> bool:
        """Whether they are in the audience."""
        return self.status == "active" and not self.gone

    @property
    def exits(self) -> bool:
        """Whether `exit_when` holds."""
        return self.tier == "new"


@dataclass
class Enrolment:
    """One passage of a customer. `step` is where they are, or were when they left."""

    profile: int
    holdout: bool
    step: str = "0"
    arrived: datetime | None = None
    state: str = "active"
    reason: str | None = None
    ended: datetime | None = None


@dataclass
class Model:
    """All customers, and the journey."""

    by_condition: bool
    """Whether they enter by a condition that is looked at by ticks, not by an audience."""
    leave_with_audience: bool
    leave_with_consent: bool
    reenter: str
    launch: str
    turned_away: str
    says: dict[str, Facts]
    holdout: set[int] = field(default_factory=set[int])
    known: dict[int, Facts] = field(default_factory=dict[int, Facts])
    """By profile of today, at the last run."""
    ever: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    """By record: all profiles that it has been in."""
    today: dict[str, int] = field(default_factory=dict[str, int])
    acts: set[int] = field(default_factory=set[int])
    merged_acts: set[int] = field(default_factory=set[int])
    covered: datetime | None = None
    """When the tier was synced last."""
    members: set[int] = field(default_factory=set[int])
    became: set[int] = field(default_factory=set[int])
    """Since the last tick."""
    last_members: set[int] = field(default_factory=set[int])
    last_living: set[int] = field(default_factory=set[int])
    watched: set[int] = field(default_factory=set[int])
    enrolments: list[Enrolment] = field(default_factory=list[Enrolment])
    messages: dict[tuple[int, str], tuple[datetime, int]] = field(default_factory=dict[Any, Any])
    """By (enrolment, counted from 1, and step): when it expires, and for which profile."""
    ticked: datetime | None = None
    seen: Seen = field(default_factory=Seen)
    """What the ledger knows of the clock, which may have been put back."""

    def change(self, records: Iterable[str], **facts: Any) -> None:
        """A system says something else of a customer's records from now on."""
        for record in records:
            self.says[record] = replace(self.says[record], **facts)

    def run(self, profiles: Mapping[str, int], covered: datetime | None) -> None:
        """What the systems say is known, of the profiles that the records are in by now."""
        self.today, self.covered = dict(profiles), covered
        self.known = {}
        for record, profile in profiles.items():
            self.ever.setdefault(record, set()).add(profile)
            self.known[profile] = self.says[record]
        self.merged_acts = set(self.acts)
        if not self.by_condition:
            self._note()

    def _note(self) -> None:
        """Who became a member."""
        members = {profile for profile, facts in self.known.items() if facts.member}
        self.became |= members - self.members
        self.members = members

    def stands_for(self, former: int) -> list[int]:
        """The profiles of today that a profile is, or has gone up in."""
        if former in self.known:
            return [former]
        return sorted({p for record, p in self.today.items() if former in self.ever[record]})

    def acted(self, profile: int, acts: set[int]) -> bool:
        """Whether its customer has unsubscribed, as whatever profile."""
        records = [record for record, today in self.today.items() if today == profile]
        return any(each in acts for record in records for each in self.ever[record])

    def withdrawn(self, profile: int) -> bool:
        """Whether the profile says that the consent was taken back."""
        return self.acted(profile, self.merged_acts) or self.known[profile].opt_in is False

    def stale(self, now: datetime) -> bool:
        """Whether the tier, and with it `exit_when`, can't be told."""
        return self.covered is None or now - self.covered > FRESH

    def tick(self, now: datetime) -> None:
        """Leave, move on, enter."""
        first = self.ticked is None
        if self.by_condition:
            self._note()
        self._carry_over()
        entering = self._entering(now, first=first)
        stale = self.stale(now)
        for number, each in enumerate(self.enrolments, 1):
            if each.state != "active":
                continue
            each.reason = self._leaves(each.profile, stale)
            if each.reason is not None:
                each.state, each.ended = "exited", now
            elif not stale:
                self._move(number, each, now)
        for profile in entering:
            self.enrolments.append(Enrolment(profile, profile in self.holdout, arrived=now))
            if not stale:
                self._move(len(self.enrolments), self.enrolments[-1], now)
        self.became.clear()
        self.last_members, self.last_living = set(self.members), set(self.known)
        self.ticked = now

    def _carry_over(self) -> None:
        """Enrolments go on with the profile that theirs has gone up in."""
        active = {each.profile for each in self.enrolments if each.state == "active"}
        for each in self.enrolments:
            goes = [] if each.profile in self.known else self.stands_for(each.profile)
            if each.state == "active" and goes and goes[0] not in active:
                each.profile = goes[0]
                active.add(goes[0])

    def _newcomer(self, profile: int) -> bool:
        """Whether its customer was no member at the last tick, as whatever profile."""
        records = [record for record, today in self.today.items() if today == profile]
        for former in {each for record in records for each in self.ever[record]} - {profile}:
            moved = former not in self.known or profile not in self.last_living
            if moved and former in self.last_members:
                return False
        return True

    def _entering(self, now: datetime, *, first: bool) -> list[int]:
        watched = {today for each in self.watched for today in self.stands_for(each)}
        come = {each for each in self.became if self._newcomer(each)} | watched
        if first:
            come = set(self.members) if self.launch == "members" else set()
        self.watched = set()
        found: list[int] = []
        for profile in sorted(come & self.members):
            facts = self.known[profile]
            own = [each for each in self.enrolments if profile in self._was(each)]
            active = any(e.state == "active" and e.profile == profile for e in own)
            if active or (own and self.reenter == "never"):
                continue
            ended = [self.seen.counted(each.ended or now, now) for each in own]
            recent = any(days_later(each, 2) > now for each in ended)
            if (
                (facts.exits and not self.stale(now))
                or (recent and self.reenter == "after 2 days")
                or (self.leave_with_consent and self.withdrawn(profile))
            ):
                if self.turned_away == "watch":
                    self.watched.add(profile)
            else:
                found.append(profile)
        return found

    def _was(self, each: Enrolment) -> set[int]:
        return {each.profile, *self.stands_for(each.profile)}

    def _leaves(self, profile: int, stale: bool) -> str | None:
        facts = self.known.get(profile)
        if facts is None:
            return "gone"
        if facts.exits and not stale:
            return "exit_when"
        if self.leave_with_consent and self.withdrawn(profile):
            return "consent"
        if self.leave_with_audience and not facts.member:
            return "left_audience"
        return None

    def _move(self, number: int, each: Enrolment, now: datetime) -> None:
        due: datetime | None = None
        late = False
        while each.step != "end":
            step = each.step
            if step in WAITS:
                due, late = self._due(each, now)
                if due is None or due > now:
                    return
            elif step in SENDS:
                expires = (due or now) + EXPIRES
                if not each.holdout and not late and expires > now:
                    self.messages[number, step] = expires, each.profile
                due = None
            gold = self.known[each.profile].tier == "gold"
            each.step = NEXT.get(step) or ("2.0.0" if gold else "2.1.0")
            each.arrived = now
        each.state, each.ended = "completed", now

    def _due(self, each: Enrolment, now: datetime) -> tuple[datetime | None, bool]:
        """When its wait ends, and whether it came too late for it."""
        assert each.arrived is not None
        arrived = self.seen.counted(each.arrived, now)
        if each.step == "1":
            return arrived + LENGTH, False
        if each.step == "2.1.0":
            return days_later(arrived, 1), False
        ends = self.known[each.profile].ends
        if ends is None or ends == date.max:
            return None, False
        if ends == date.min:
            return datetime.min.replace(tzinfo=UTC) + 9 * DAY, True
        return local(ends - DAY, time(9)), arrived >= local(ends)

    def may(self, number: int, step: str, now: datetime) -> bool:
        """Whether a message may be sent at a moment: decided, in time, with consent, not left."""
        each = self.enrolments[number - 1]
        expires, profile = self.messages.get((number, step), (now, 0))
        goes = self.stands_for(profile)
        if not goes or now >= expires or each.state == "exited" or self.stale(now) or quiet(now):
            return False
        facts = self.known[goes[0]]
        return (
            not facts.exits
            and (facts.member or not self.leave_with_audience)
            and facts.opt_in is True
            and not self.acted(goes[0], self.merged_acts | self.acts)
        )
