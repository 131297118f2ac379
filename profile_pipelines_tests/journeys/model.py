"""A journey in plain Python: what a tick does to a few customers, and what may be sent to them.

The journey is the one of `STEPS`; `leave_with_audience`, `leave_with_consent`, `reenter` and
`launch` are as the model is made. Nothing is stale in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

LENGTH = timedelta(hours=6)
EXPIRES = timedelta(hours=5)
AFTER = timedelta(days=2)
SEND = {"send": {"channel": "hook", "template": "hello"}}
WAIT = {"wait": "6 hours"}
STEPS: list[dict[str, Any]] = [
    SEND,
    WAIT,
    {"branch": [{"when": {"tier": {"is": "gold"}}, "then": [SEND]}, {"otherwise": [WAIT]}]},
    SEND,
]
NEXT = {"0": "1", "1": "2", "2.0.0": "3", "2.1.0": "3", "3": "end"}
SENDS = ("0", "2.0.0", "3")
WAITS = ("1", "2.1.0")


@dataclass(frozen=True)
class Facts:
    """What is known of a customer. The audience is of those who are active."""

    status: str = "prospect"
    tier: str | None = "gold"
    opt_in: bool | None = True
    gone: bool = False

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

    customer: str
    holdout: bool
    step: str = "0"
    arrived: datetime | None = None
    state: str = "active"
    reason: str | None = None
    ended: datetime | None = None


@dataclass
class Model:
    """All customers, and the journey."""

    holdout: set[str]
    by_condition: bool
    """Whether they enter by a condition that is looked at by ticks, not by an audience."""
    leave_with_audience: bool
    leave_with_consent: bool
    reenter: str
    launch: str
    says: dict[str, Facts]
    known: dict[str, Facts] = field(default_factory=dict[str, Facts])
    unsubscribed: set[str] = field(default_factory=set[str])
    merged_unsubscribed: set[str] = field(default_factory=set[str])
    noted: set[str] = field(default_factory=set[str])
    became: set[str] = field(default_factory=set[str])
    enrolments: list[Enrolment] = field(default_factory=list[Enrolment])
    messages: dict[tuple[int, str], datetime] = field(default_factory=dict[Any, Any])
    """By (enrolment, counted from 1, and step): when it expires."""
    ticked: datetime | None = None

    def change(self, customer: str, **facts: Any) -> None:
        """A system says something else from now on."""
        self.says[customer] = replace(self.says[customer], **facts)

    def run(self) -> None:
        """What the systems say is known; who became a member since the last tick is noted."""
        for customer, facts in self.says.items():
            before = self.known.get(customer)
            if facts.member and not (before is not None and before.member):
                self.became.add(customer)
        self.known = dict(self.says)
        self.merged_unsubscribed = set(self.unsubscribed)

    def withdrawn(self, customer: str) -> bool:
        """Whether the profile says that the consent was taken back."""
        return customer in self.merged_unsubscribed or self.known[customer].opt_in is False

    def tick(self, now: datetime) -> None:
        """Leave, move on, enter."""
        now = max(now, self.ticked or now)
        first = self.ticked is None
        if self.by_condition:
            fits = {customer for customer, facts in self.known.items() if facts.member}
            self.became, self.noted = fits - self.noted, fits
        entering = [] if first and self.launch == "newcomers" else self._entering(now, first=first)
        for number, each in enumerate(self.enrolments, 1):
            if each.state != "active":
                continue
            each.reason = self._leaves(each.customer)
            if each.reason is not None:
                each.state, each.ended = "exited", now
            else:
                self._move(number, each, now, came=False)
        for customer in entering:
            self.enrolments.append(Enrolment(customer, customer in self.holdout, arrived=now))
            self._move(len(self.enrolments), self.enrolments[-1], now, came=True)
        self.became.clear()
        self.ticked = now

    def _entering(self, now: datetime, *, first: bool) -> list[str]:
        found: list[str] = []
        for customer, facts in self.known.items():
            own = [each for each in self.enrolments if each.customer == customer]
            recent = [each for each in own if each.ended is None or each.ended > now - AFTER]
            active = [each for each in own if each.state == "active"]
            kept = {"never": own, "after 2 days": recent, "always": active}[self.reenter]
            if (
                facts.member
                and (first or customer in self.became)
                and not kept
                and not facts.exits
                and not (self.leave_with_consent and self.withdrawn(customer))
            ):
                found.append(customer)
        return found

    def _leaves(self, customer: str) -> str | None:
        facts = self.known[customer]
        if facts.gone:
            return "gone"
        if facts.exits:
            return "exit_when"
        if self.leave_with_consent and self.withdrawn(customer):
            return "consent"
        if self.leave_with_audience and not facts.member:
            return "left_audience"
        return None

    def _move(self, number: int, each: Enrolment, now: datetime, *, came: bool) -> None:
        due: datetime | None = None
        while each.step != "end":
            step = each.step
            if step in WAITS:
                assert each.arrived is not None
                due = each.arrived + LENGTH
                if due > now:
                    return
            elif step in SENDS:
                expires = (due or now) + EXPIRES
                if not each.holdout and expires > now:
                    self.messages[number, step] = expires
                due = None
            gold = self.known[each.customer].tier == "gold"
            each.step = NEXT.get(step) or ("2.0.0" if gold else "2.1.0")
            each.arrived = now
        each.state, each.ended = "completed", now

    def may(self, number: int, step: str, now: datetime) -> bool:
        """Whether a message may be sent at a moment: decided, in time, with consent, not left."""
        each = self.enrolments[number - 1]
        expires = self.messages.get((number, step))
        facts = self.known[each.customer]
        return (
            expires is not None
            and now < expires
            and each.state != "exited"
            and not facts.gone
            and not facts.exits
            and (facts.member or not self.leave_with_audience)
            and facts.opt_in is True
            and each.customer not in self.merged_unsubscribed | self.unsubscribed
        )
