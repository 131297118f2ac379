"""Shows journeys, their steps, and what became of messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from profile_pipelines.cli.output import (
    joined,
    spell_count,
    spell_many,
    spell_time,
    stderr,
    stdout,
    styled,
    table,
)
from profile_pipelines.masking import mask

if TYPE_CHECKING:
    from profile_pipelines.catalog.journeys import Journey
    from profile_pipelines.channels.dispatch import DispatchResult
    from profile_pipelines.channels.eligibility import Preview
    from profile_pipelines.journeys.explain import Explanation
    from profile_pipelines.journeys.history import StepDay
    from profile_pipelines.journeys.simulate import SimulatedTick
    from profile_pipelines.journeys.status import JourneyStatus
    from profile_pipelines.journeys.tick import TickResult


def journey_document(result: TickResult) -> dict[str, Any]:
    """A tick as JSON has it."""
    steps = [
        {"step": step, "event": event, "reason": reason or None, "count": count}
        for (step, event, reason), count in result.steps.items()
    ]
    told = {name: value for name, value in vars(result).items() if name != "decided"}
    return {**told, "steps": steps}


def preview_document(preview: Preview) -> dict[str, Any]:
    """What would become of messages, as JSON has it; addresses are masked."""
    counts = [
        {"state": state, "reason": reason, "count": count}
        for (state, reason), count in preview.counts.items()
    ]
    sample = [
        {
            "step": each.step,
            "template": each.template,
            "to": mask(each.to or ""),
            "subject": each.subject,
            "text": each.text,
        }
        for each in preview.sample
    ]
    return {"counts": counts, "sample": sample}


def print_preview(preview: Preview) -> None:
    """How many would be sent, who would get nothing and why, and what some would get."""
    console = stdout()
    by_state = {
        state: {str(r): n for (s, r), n in preview.counts.items() if s == state}
        for state in ("sent", "skipped", "pending")
    }
    sent = sum(by_state["sent"].values())
    told = [f"{spell_count(sent)} of the messages would be sent now"]
    if by_state["skipped"]:
        told.append(f"get nothing: {_reasons(by_state['skipped'])}")
    if by_state["pending"]:
        told.append(f"wait: {_reasons(by_state['pending'])}")
    console.print("; ".join(told), soft_wrap=True)
    for each in preview.sample:
        to = mask(each.to or "") or "nobody by address"
        title = f"step {each.step}, {each.template}, to {to}"
        console.print("\n", styled(title, "bold"), sep="", soft_wrap=True)
        console.print(f"Subject: {each.subject}\n\n{each.text}", markup=False, soft_wrap=True)
    console.print("\nNothing was written or sent.")


def dispatch_document(result: DispatchResult) -> dict[str, Any]:
    """What was sent, as JSON has it."""
    counts = [
        {"channel": channel, "state": state, "reason": reason, "count": count}
        for (channel, state, reason), count in result.counts.items()
    ]
    return {
        "counts": counts, "errors": result.errors, "in_doubt": result.in_doubt,
        "kept_back": result.kept_back,
    }  # fmt: skip


def journeys_table(results: Sequence[TickResult]) -> Any:
    """A row for each journey's tick."""
    rows = table(
        "journey", "#active", "#entered", "#moved on", "#exited", "#completed", "#converted",
        "#messages", "#held",
    )  # fmt: skip
    for each in results:
        numbers = (
            each.entered, each.moved, each.exited, each.completed, each.converted, each.messages,
            each.held,
        )  # fmt: skip
        active = styled(spell_count(each.active), "bold")
        rows.add_row(each.journey, active, *map(spell_count, numbers))
    return rows


def print_dispatch(result: DispatchResult) -> None:
    """What was sent over each channel, and why the rest wasn't."""
    rows = table("channel", "#sent", "#skipped", "#waiting", "#failed", "#unknown", "~why")
    for channel in sorted({name for name, _, _ in result.counts}):
        own = {(s, r): n for (name, s, r), n in result.counts.items() if name == channel}
        totals = [
            sum(count for (found, _), count in own.items() if found == state)
            for state in ("sent", "skipped", "pending", "failed", "unknown")
        ]
        why = {reason: count for (_, reason), count in own.items() if reason}
        rows.add_row(channel, *map(spell_count, totals), _reasons(why))
    stdout().print(rows)


def say_what_needs_a_word(needs: Mapping[str, str]) -> None:
    """Say on stderr, after all else, which messages are in doubt or kept back, and that it ends
    with 1."""
    for title, told in needs.items():
        stdout().file.flush()
        stderr().print(
            styled(f"{title}: ", "bold red"), f"{told}; so it ends with 1.", sep="", soft_wrap=True
        )


def print_status(status: JourneyStatus) -> None:
    """The journey's numbers, then those of each step."""
    console = stdout()
    told = [
        f"version {status.version}",
        f"{spell_count(status.active)} active",
        f"{spell_count(status.entered_today)} entered today",
        f"{spell_count(status.completed)} completed",
        f"{spell_count(sum(status.exited.values()))} exited",
        f"{spell_count(status.converted)} converted",
    ]
    if status.held:
        told.append(f"{spell_count(status.held)} held")
    console.print(styled(status.journey, "bold"), ": ", ", ".join(told), sep="", soft_wrap=True)
    mapped = sum(each.mapped for each in status.steps)
    if mapped:
        console.print(f"taken over by a newer version: {spell_count(mapped)}")
    if status.exited:
        console.print(f"exited: {_reasons(status.exited)}", soft_wrap=True)
    if status.turned_away:
        watched = sum(status.watched.values())
        told = f"turned away: {_reasons(status.turned_away)}"
        if watched:
            told += f"; of these {spell_count(watched)} enter once that is over"
        console.print(told, soft_wrap=True)
    if status.kept_back:
        kept = spell_many(status.kept_back, "message is", "messages are")
        console.print(f"{kept} kept back: see `profile-pipelines outbox settle`", soft_wrap=True)
    late = {each.path: each.late for each in status.steps if each.late}
    if late:
        console.print(f"came too late for step {_reasons(late)}", soft_wrap=True)
    rows = table(
        "step", "#entered", "#today", "#waiting", "#sent", "#exited", "#converted", "~skipped"
    )
    for each in status.steps:
        rows.add_row(
            each.title,
            *map(spell_count, (each.entered, each.entered_today, each.waiting)),
            spell_count(each.messages.get("sent", 0)),
            *map(spell_count, (each.exited, each.converted)),
            _reasons(each.skipped),
        )
    console.print(rows)


def print_days(days: Sequence[StepDay], step: str | None) -> None:
    """A row for each day: of the whole journey, or of one step."""
    from profile_pipelines.journeys.history import StepDay

    rows = table("day", "#entered", "#sent", "#skipped", "#failed", "#exited", "#converted")
    chosen = {each.day: each for each in days if each.step == step}
    for day in dict.fromkeys(each.day for each in days):
        each = chosen.get(day) or StepDay(day, step)
        numbers = (
            each.entered, each.sent, each.skipped, each.failed, each.exited, each.converted,
        )  # fmt: skip
        rows.add_row(day.isoformat(), *map(spell_count, numbers))
    stdout().print(rows)


def _reasons(reasons: Mapping[str, int]) -> str:
    return joined(f"{reason} {spell_count(count)}" for reason, count in sorted(reasons.items()))


def print_dry_run(journey: Journey, result: TickResult) -> None:
    """What a tick would do at each step; nothing was written."""
    from profile_pipelines.journeys.program import describe, program

    console = stdout()
    console.print(journeys_table([result]))
    console.print()
    away = {r: n for (_, event, r), n in result.steps.items() if event == "turned_away"}
    if away:
        then = "enter once that is over" if journey.watches else "are forgotten"
        console.print(f"turned away, and {then}: {_reasons(away)}", soft_wrap=True)
    late = {path: n for (path, event, _), n in result.steps.items() if event == "late"}
    if late:
        console.print(f"came too late for step {_reasons(late)}", soft_wrap=True)
    rows = table("step", "", "#would enter", "#would be sent", "~skipped", "~leave")
    for node in program(journey):
        own = {(e, r): n for (path, e, r), n in result.steps.items() if path == node.path}
        skipped = {reason: n for (event, reason), n in own.items() if event == "skipped"}
        left = {reason: n for (event, reason), n in own.items() if event == "exited"}
        entered, decided = own.get(("entered", ""), 0), own.get(("decided", ""), 0)
        rows.add_row(
            node.path, describe(node.step), spell_count(entered), spell_count(decided),
            _reasons(skipped), _reasons(left),
        )  # fmt: skip
    console.print(rows)
    console.print()


def simulation_document(name: str, ticks: Sequence[SimulatedTick]) -> dict[str, Any]:
    """A replay as JSON has it."""
    told = [
        {
            **vars(tick),
            "steps": [
                {"step": step, "event": event, "reason": reason or None, "count": count}
                for (step, event, reason), count in tick.steps.items()
            ],
        }
        for tick in ticks
    ]
    return {"journey": name, "ticks": told}


def print_simulation(journey: Journey, ticks: Sequence[SimulatedTick], timezone: str) -> None:
    """What happened at each moment, then at each step in all."""
    from profile_pipelines.journeys.program import describe, program

    console = stdout()
    nodes = program(journey)
    waits = [node.path for node in nodes if node.step.wait is not None or node.step.branch]
    rows = table(
        "at", "#active", "#entered", "#sent", "#exited", "#completed", "#converted", "#held",
        *(f"#at {path}" for path in waits if any(tick.waiting.get(path) for tick in ticks)),
    )  # fmt: skip
    for tick in ticks:
        numbers = (
            tick.active, tick.entered, tick.sent, tick.exited, tick.completed, tick.converted,
            tick.held,
        )  # fmt: skip
        there = [
            tick.waiting.get(path, 0)
            for path in waits
            if any(each.waiting.get(path) for each in ticks)
        ]
        rows.add_row(spell_time(tick.at, timezone), *map(spell_count, (*numbers, *there)))
    console.print(rows)
    console.print()
    total: Counter[tuple[str, str, str]] = Counter()
    for tick in ticks:
        total.update(tick.steps)
    rows = table("step", "#entered", "#sent", "#converted", "#waiting", "~skipped", "~exited")
    for node in nodes:
        own = {(e, r): n for (path, e, r), n in total.items() if path == node.path}
        rows.add_row(
            f"{'  ' * (node.path.count('.') // 2)}{node.path} {describe(node.step)}",
            *(spell_count(own.get((event, ""), 0)) for event in ("entered", "sent", "converted")),
            spell_count(ticks[-1].waiting.get(node.path, 0)),
            *(_reasons({r: n for (e, r), n in own.items() if e == event and n})
              for event in ("skipped", "exited")),
        )  # fmt: skip
    console.print(rows)
    console.print(
        "\nNothing was written or sent; caps, rates and quiet hours aren't replayed.",
    )


def print_explanation(name: str, found: Sequence[Explanation], timezone: str) -> None:
    """Each enrolment, the last one first."""
    console = stdout()
    if not found:
        console.print(f"Never in {name}")
        return
    for each in found:
        holdout = ", in the holdout: no messages" if each.holdout else ""
        console.print(
            styled(f"Profile {each.profile_id}", "bold"), f": {each.state} in {name}, version ",
            f"{each.version}{holdout}", sep="", soft_wrap=True,
        )  # fmt: skip
        facts = {
            "entered": spell_time(each.entered_at, timezone),
            "at step": f"{each.step}, since {spell_time(each.arrived_at, timezone)}",
            "next": None if each.next is None else each.next
            + (f", at {spell_time(each.due_at, timezone)}" if each.due_at else ""),
            "ended because": each.reason,
            "converted": spell_time(each.converted_at, timezone) if each.converted_at else None,
            "would leave by": "; ".join(each.exits) if each.next else None,
            "holds by now": ("unknown: a value is stale" if each.exit_now is None else
                             "yes" if each.exit_now else "no") if each.next else None,
        }  # fmt: skip
        for label, text in facts.items():
            if text is not None:
                console.print(styled(f"  {label}: ", "dim"), text, sep="", soft_wrap=True)
        for message in each.messages:
            why = f" ({message['reason']})" if message["reason"] else ""
            at = spell_time(message["ended_at"] or message["decided_at"], timezone)
            console.print(
                styled("  message: ", "dim"),
                f"{message['template']} by {message['channel']}: {message['state']}{why}, {at}",
                sep="", soft_wrap=True,
            )  # fmt: skip
