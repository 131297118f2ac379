"""Shows a customer's consents: what they were and why, acts, and the messages that relied on
them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from profile_pipelines.cli.output import (
    NOTHING,
    joined,
    short_run,
    spell,
    spell_count,
    spell_many,
    spell_time,
    stdout,
    styled,
    table,
)
from profile_pipelines.cli.profile_tables import origin, spell_changed
from profile_pipelines.consent.bounces import BouncesResult
from profile_pipelines.consent.history import (
    ConsentedDelivery,
    ConsentedMessage,
    ConsentHistory,
    ConsentValue,
    ReliedOn,
)
from profile_pipelines.ledger.feedback import Kind
from profile_pipelines.ledger.suppressions import AddressAct
from profile_pipelines.ledger.unsubscribes import Act

_MISSING = {
    "consent": "no: it is missing, withdrawn or unsubscribed",
    "stale": "not now: what is known is too old",
    "gone": "no: there is no such profile",
    "suppressed": "no: the address is suppressed",
}

_REPORTS: Mapping[Kind, str] = {
    "hard": "bounced for good", "soft": "bounced for the time being", "complaint": "complained",
    "unsubscribed": "unsubscribed", "delivered": "delivered",
}  # fmt: skip


def print_consent(profile_id: int, histories: Sequence[ConsentHistory], timezone: str) -> None:
    """A section for each purpose, the newest first in each of its tables."""
    console = stdout()
    console.print(styled(f"Profile {profile_id}", "bold"))
    for each in histories:
        may = "yes" if each.missing is None else _MISSING[each.missing]
        console.print()
        console.print(styled(each.purpose, "bold"), f": may a message be sent now? {may}", sep="")
        console.print(_values(each.values, profile_id, timezone))
        for act in each.acts:
            console.print(_act(act, timezone), soft_wrap=True)
        for one in each.addresses:
            console.print(_address_act(one, timezone), soft_wrap=True)
        if each.messages:
            console.print()
            console.print(_messages(each.messages, timezone))
        else:
            console.print(styled("no message was sent for it", "dim"))
        if each.deliveries:
            console.print()
            console.print(_deliveries(each.deliveries, timezone))


def bounces_document(found: BouncesResult) -> dict[str, object]:
    """What a mailbox said, as a run's JSON has it: without the names of its files."""
    numbers = {"unproven": len(found.unproven), "unreadable": len(found.unreadable)}
    return {**vars(found), "new": dict(found.new), **numbers}


def print_bounces(found: BouncesResult, *, listed: bool) -> None:
    """What a mailbox said; `listed` with the mails that prove nothing or can't be read."""
    console = stdout()
    counts = [
        *((found.new[kind], word) for kind, word in _REPORTS.items()),
        (found.repeated, "told before"), (found.delayed, "only later"),
        (found.others, "no reports"),
    ]  # fmt: skip
    told = ", ".join(f"{spell_count(count)} {word}" for count, word in counts if count)
    mails = spell_many(found.mails, "mail", "mails")
    console.print(f"{found.mailbox}: {mails}: {told or 'nothing new'}", soft_wrap=True)
    for places, word, why in (
        (found.unproven, "unproven: ", "of no message that went to this address"),
        (found.unreadable, "unreadable: ", "a report that doesn't say what became of whom"),
    ):
        if places and not listed:
            said = spell_many(len(places), "report", "reports")
            more = f"{said}, {why}: `profile-pipelines consent bounces` lists them"
            console.print(styled(word, "yellow"), more, sep="", soft_wrap=True)
        for place in places if listed else ():
            console.print(styled(word, "yellow"), f"{place}: {why}", sep="", soft_wrap=True)


def _values(values: Sequence[ConsentValue], profile_id: int, timezone: str) -> object:
    rows = table("recorded", "attribute", "~became", "from", "changed there", "run")
    for each in values:
        became = "went up in another profile" if each.gone else spell(each.value)
        if each.profile_id != profile_id:
            became += f" (profile {each.profile_id})"
        recorded, run = spell_time(each.recorded_at, timezone), short_run(each.run_id)
        decided = joined(dict.fromkeys(given.system for given in each.winners))
        changed = max((g.changed_at for g in each.winners if g.changed_at), default=None)
        rows.add_row(
            recorded, each.attribute, styled(became, "bold"), decided or NOTHING,
            spell_changed(changed, timezone), run,
        )  # fmt: skip
        rule = f"  {each.rule.partition(':')[0]}"
        given_by = (*each.winners, *each.losers)
        several = each.winners if len(each.winners) > 1 else ()
        others = [("gives:", one) for one in several] + [("lost:", one) for one in each.losers]
        for number, (word, given) in enumerate(others):
            told = f"invalid: {given.invalid}" if given.invalid else f"{word} {spell(given.value)}"
            at = spell_changed(given.changed_at, timezone)
            first, where = rule if number == 0 else "", origin(given, given_by)
            rows.add_row("", first, told, where, at, short_run(given.run_id), style="dim")
    return rows


def _act(act: Act, timezone: str) -> str:
    at = spell_time(act.at, timezone)
    if act.unsubscribed and act.by is not None:
        return f"{at}  opted out by {spell(act.by)}: {spell(act.because)}"
    if act.unsubscribed:
        return f"{at}  unsubscribed by a link"
    return f"{at}  taken back by {spell(act.by)}: {spell(act.because)}"


def _address_act(act: AddressAct, timezone: str) -> str:
    at = spell_time(act.at, timezone)
    what = "for all purposes" if act.purpose is None else f"for {act.purpose}"
    if act.suppressed:
        return f"{at}  an address suppressed {what}: {act.reason}"
    return f"{at}  an address restored {what} by {spell(act.by)}: {spell(act.because)}"


def _messages(messages: Sequence[ConsentedMessage], timezone: str) -> object:
    rows = table("sent", "journey", "step", "channel", "state", "~relied on", title="Messages")
    for each in messages:
        relied = "; ".join(_relied(one, timezone) for one in each.relied_on)
        names = (each.journey, each.step, each.channel, each.state)
        rows.add_row(spell_time(each.at, timezone), *names, relied or NOTHING)
    return rows


def _deliveries(deliveries: Sequence[ConsentedDelivery], timezone: str) -> object:
    rows = table("delivered", "destination", "state", "~relied on", title="Destinations")
    for each in deliveries:
        relied = "; ".join(_relied(one, timezone) for one in each.relied_on)
        rows.add_row(spell_time(each.at, timezone), each.destination, each.state, relied or NOTHING)
    return rows


def _relied(one: ReliedOn, timezone: str) -> str:
    confirmed = spell_time(one.confirmed_at, timezone)
    return f"{one.attribute} {spell(one.value)} from {joined(one.systems)}, synced {confirmed}"
