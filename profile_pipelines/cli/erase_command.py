"""`erase`: a person's removal from everything, and its certificate."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from profile_pipelines.cli.options import AsJson, Now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from profile_pipelines.ledger.erasures import Erasure
    from profile_pipelines.ledger.tombstones import TombstoneEnd, Tombstones
    from profile_pipelines.privacy.people import People


def erase(
    identifiers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IDENTIFIER]...",
            help="Whom: any identifier in any spelling, or 'profile 123'.",
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="A text file with an identifier a line."),
    ] = None,
    replay: Annotated[
        bool,
        typer.Option("--replay", help="Erase again whom a backup of the lake has brought back."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="End the erasures that were begun and not ended.")
    ] = False,
    certificates: Annotated[
        bool, typer.Option("--list", help="Show the certificates of all erasures.")
    ] = False,
    lift: Annotated[
        bool,
        typer.Option("--lift", help="Let people in again who were erased and have come back."),
    ] = False,
    because: Annotated[
        str | None,
        typer.Option("--because", metavar="TEXT", help="With --lift: why, for the register."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="WHEN",
            help="How long they are kept out: '2 years', or 'source stops delivering them'; by "
            "default as catalogue.yaml says, else for ever.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="TEXT", help="The request's number in your files."),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who erases; else your login.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be removed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Erase people from the lake with its history, the ledger, and the messages written.

    Keyed hashes of their identifiers stay, which keep later syncs and restored backups from
    bringing them back. There is no way back. Killed at any moment, it is done by doing it again.

    --lift takes such hashes away: what is delivered of these people is read at the next run.
    """
    from profile_pipelines.catalog.tombstones import read_until, spell_until
    from profile_pipelines.cli.asking import ask
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import note, print_json, stderr, stdout
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.errors import ProfilePipelinesError
    from profile_pipelines.privacy.erasure import tombstoned_profiles
    from profile_pipelines.privacy.erasure_request import requested
    from profile_pipelines.privacy.people import find_people
    from profile_pipelines.privacy_steps import erase_people, lift_tombstones

    space = open_workspace()
    catalogue, lake, ledger = space.catalogue, space.lake, space.ledger
    timezone = catalogue.settings.timezone
    if certificates:
        if identifiers or file is not None or replay or resume or lift:
            raise typer.BadParameter("--list shows all certificates and takes nobody to erase")
        erasures = ledger.erasures.all()
        if not erasures and not as_json:
            stdout().print("Nobody was erased yet")
        _tell(erasures, timezone, as_json, ledger.erasures.tombstones)
        return
    if until is not None:
        try:
            until = spell_until(read_until(until))
        except ValueError as error:
            raise typer.BadParameter(f"--until {error}") from None
    given = [("", text) for text in identifiers or []]
    if file is not None:
        given += _lines(file)
        if not given and not replay and not resume:
            raise ProfilePipelinesError(f"{file} names nobody: it has no line with an identifier")
    if lift:
        if replay or resume or dry_run or until is not None:
            raise typer.BadParameter("--lift takes identifiers or --file, --because and --by alone")
        if not given:
            raise typer.BadParameter("name whom to let in again, or give --file")
        if because is None:
            raise typer.BadParameter('say why, for the register: --because "is a customer"')
        ended = lift_tombstones(
            space, given, by=by or getpass.getuser(), because=because, now=present(now, timezone)
        )
        if as_json:
            print_json(ended)
        else:
            _tell_ends(ended, timezone)
            note("the next run reads what the systems deliver of them")
        return
    if because is not None:
        raise typer.BadParameter("--because belongs to --lift")
    if not given and not replay and not resume:
        raise typer.BadParameter("name whom to erase, or give --file, --replay or --resume")
    asked = requested(catalogue, lake, ledger, given)
    profiles = set(asked.profiles)
    if replay:
        profiles |= set(tombstoned_profiles(catalogue, lake, ledger))
    if resume:
        begun = [each for each in ledger.erasures.all() if each.completed_at is None]
        profiles |= {profile for each in begun for profile in each.profiles}
    if not profiles:
        if not as_json:
            note("nobody is left to be erased" if asked.done else "nobody is to be erased")
        _tell(asked.done, timezone, as_json, ledger.erasures.tombstones)
        return
    if dry_run or not yes:
        people = find_people(catalogue, lake, profiles)
        if dry_run:
            counts = _counts(people)
            if as_json:
                print_json(counts)
            else:
                stdout().print(_said(people))
            return
        note(_said(people))
        ask("Erase them for good?", "erasing can't be undone")
    with stderr().status("erasing") as shown:
        done = erase_people(
            space, sorted(profiles),
            reference=reference, by=by or getpass.getuser(), now=present(now, timezone),
            until=until, step=lambda name: shown.update(f"erasing: {name}"),
        )  # fmt: skip
    _tell([*asked.done, done], timezone, as_json, ledger.erasures.tombstones)


def _lines(file: Path) -> list[tuple[str, str]]:
    from profile_pipelines.errors import ProfilePipelinesError

    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ProfilePipelinesError(f"{file} can't be read ({type(error).__name__})") from None
    return [
        (f"{file}:{number}: ", line.strip())
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]


def _counts(people: People) -> dict[str, int]:
    return {
        "profiles": len(people.profiles),
        "records": people.records.num_rows,
        "identifiers": sum(map(len, people.identifiers.values())),
        "shared_identifiers": people.shared,
    }


def _said(people: People) -> str:
    from profile_pipelines.cli.output import spell_many

    counts = _counts(people)
    said = (
        f"{spell_many(counts['profiles'], 'profile')} with "
        f"{spell_many(counts['records'], 'record')} in {spell_many(len(people.keys), 'sync')} "
        f"and {spell_many(counts['identifiers'], 'identifier')}"
    )
    if people.shared:
        stay = "stays" if people.shared == 1 else "stay"
        shared = spell_many(people.shared, "identifier")
        said += f"; {shared} that others have, too, {stay} theirs"
    return said


def _certificate(
    erasure: Erasure, until: str | None, ends: Sequence[TombstoneEnd]
) -> dict[str, Any]:
    removed = {place: count for place, count in erasure.removed.items() if count}
    return {
        **asdict(erasure),
        "removed": removed,
        "complete": erasure.completed_at is not None,
        "until": until,
        "ended": [asdict(each) for each in ends],
    }


def _tell(
    erasures: Sequence[Erasure], timezone: str, as_json: bool, tombstones: Tombstones
) -> None:
    from profile_pipelines.cli.output import print_json, spell_time, stdout, table

    terms, ends = tombstones.terms(), tombstones.ends()
    told = [
        _certificate(
            each, terms.get(each.erasure), [end for end in ends if end.erasure == each.erasure]
        )
        for each in erasures
    ]
    if as_json:
        print_json(told)
        return
    for each, certificate in zip(erasures, told, strict=True):
        ended = each.completed_at
        state = f"completed {spell_time(ended, timezone)}" if ended else "NOT COMPLETED"
        reference = f", reference {each.reference}" if each.reference else ""
        until = f", kept out until: {certificate['until']}" if certificate["until"] else ""
        title = (
            f"Erasure {each.erasure}: profiles {', '.join(map(str, each.profiles[:5]))}"
            f"{' …' if len(each.profiles) > 5 else ''}{reference}, requested "
            f"{spell_time(each.requested_at, timezone)} by {each.by}, {state}{until}"
        )
        stdout().print(title, soft_wrap=True)
        rows = table("removed from", "#rows, messages or files")
        for place, count in certificate["removed"].items():
            rows.add_row(place, f"{count:,}")
        if certificate["removed"]:
            stdout().print(rows)
        _tell_ends([end for end in ends if end.erasure == each.erasure], timezone)


def _tell_ends(ends: Sequence[TombstoneEnd], timezone: str) -> None:
    from profile_pipelines.cli.output import spell_many, spell_time, stdout

    for each in ends:
        whom = "all who were left" if each.person is None else f"profile {each.person}"
        if "" in each.tombstones and each.person is None:
            whom = "people whom an older version erased"
        count = spell_many(sum(each.tombstones.values()), "tombstone")
        kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(each.tombstones.items()) if kind)
        stdout().print(
            f"Erasure {each.erasure}: not kept out any more since "
            f"{spell_time(each.ended_at, timezone)}: {whom}, {count}"
            f"{f' ({kinds})' if kinds else ''}, by {each.by}: {each.because}",
            soft_wrap=True,
        )
