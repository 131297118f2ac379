"""`backup` and `restore`: lake and ledger copied as a pair, proved, and put back."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from profile_pipelines.cli.options import AsJson

if TYPE_CHECKING:
    from profile_pipelines.backup.place import BackupPlace, Manifest
    from profile_pipelines.backup.prove import Proof
    from profile_pipelines.ledger.refusals import PutBack


def backup(
    to: Annotated[
        str, typer.Argument(metavar="TO", help="A folder, or a URL such as s3://bucket/backups.")
    ],
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, metavar="N", help="Take all but the last N backups away."),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Show the backups that lie there, and take none.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Back up lake and ledger as a pair that goes together, also while runs go on.

    Files that an earlier backup there holds aren't copied again. Prove it with `restore --check`.
    """
    from datetime import UTC, datetime

    from profile_pipelines.backup.place import BackupPlace
    from profile_pipelines.backup.take import take
    from profile_pipelines.cli.output import note, print_json, spell_bytes, spell_many, stdout
    from profile_pipelines.cli.session import open_workspace

    place = BackupPlace(to)
    if listed:
        if keep is not None:
            raise typer.BadParameter("--list takes nothing away: leave --keep out")
        _list(place, as_json)
        return
    with _progress() as told:
        taken = take(open_workspace(), place, now=datetime.now(UTC), keep=keep, told=told)
    manifest = taken.manifest
    if as_json:
        copied = {"files": taken.copied, "bytes": taken.copied_bytes}
        print_json({**_document(manifest), "copied": copied, "removed": taken.removed})
        return
    new = f"{spell_many(taken.copied, 'file')} ({spell_bytes(taken.copied_bytes)})"
    stdout().print(
        f"Backup {manifest.id} in {place}: {spell_many(len(manifest.files), 'file')}, "
        f"{spell_bytes(manifest.size)}, of which {new} weren't there yet",
        soft_wrap=True,
    )
    if taken.removed:
        note(f"taken away: {', '.join(taken.removed)}")


def restore(
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="Where the backups lie: a folder or a URL.")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Only prove a backup, by reading all of it.")
    ] = False,
    chosen: Annotated[
        str | None,
        typer.Option(
            "--backup", metavar="ID", help="Which one, as `backup --list` names it; else the last."
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Put it in place of the lake and the ledger that are there, which "
            "are moved aside.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put lake and ledger back from a backup, into an empty place or, with --replace, over those
    that are there.

    Who was erased, suppressed or unsubscribed since stays so. What is to be sent then waits for
    `outbox settle`.
    """  # fmt: skip
    from datetime import UTC, datetime

    from profile_pipelines.backup.place import BackupPlace
    from profile_pipelines.backup.prove import prove
    from profile_pipelines.backup.restore import about, look_at
    from profile_pipelines.backup.restore import restore as put_back
    from profile_pipelines.cli.asking import ask
    from profile_pipelines.cli.failures import ExitCode
    from profile_pipelines.cli.output import note, print_json, stdout
    from profile_pipelines.cli.session import open_workspace

    place = BackupPlace(source)
    manifest = place.manifest(chosen)
    if check:
        if replace:
            raise typer.BadParameter("--check puts nothing back: leave --replace out")
        with _progress() as told:
            proof = prove(place, manifest, told)
        if as_json:
            print_json({**_document(manifest), "sound": not proof.wrong, "wrong": proof.wrong})
        else:
            _tell_proof(manifest, proof)
        if proof.wrong:
            raise typer.Exit(ExitCode.STORAGE)
        return
    workspace = open_workspace()
    present = look_at(workspace, manifest)
    if present.anything and replace and not yes:
        note(
            f"{about(workspace, present)}. The backup {manifest.id} takes their place; they are "
            "moved aside. Nothing else may be at work on them meanwhile: stop Dagster, cron and "
            "the receiver first"
        )
        ask("Replace them?", "what is there would be moved aside")
    with _progress() as told:
        done = put_back(
            workspace, place, manifest, now=datetime.now(UTC), replace=replace, told=told
        )
    aside = [each for each in (done.lake_aside, done.ledger_aside) if each is not None]
    if as_json:
        print_json({**_document(manifest), "aside": aside, "refused": done.refused})
        return
    out = stdout()
    out.print(
        f"Restored the backup {manifest.id}: the lake {workspace.places.lake} and the ledger "
        f"{workspace.shown_ledger}",
        soft_wrap=True,
    )
    _tell_refused(done.refused)
    for each in aside:
        out.print(
            f"What was there lies in {each}: delete it when you don't need it", soft_wrap=True
        )


def _tell_refused(refused: PutBack | None) -> None:
    from profile_pipelines.cli.output import note, spell_many, stdout

    if refused is None:
        note("what people refused since the backup is kept nowhere: nothing of it was put back")
        return
    stdout().print(
        f"Refused since the backup: {spell_many(refused.erasures, 'erasure')}, "
        f"{spell_many(refused.addresses, 'suppression')} and "
        f"{spell_many(refused.consents, 'change of consent', 'changes of consent')}, put back"
    )
    if refused.other_key:
        note(
            f"{spell_many(refused.other_key, 'refusal was', 'refusals were')} hashed under another "
            "key than the ledger's, and nobody can be recognised by them: set "
            "PROFILE_PIPELINES_ERASURE_KEY to the key that was lost with the ledger, and restore "
            "again"
        )


def _list(place: BackupPlace, as_json: bool) -> None:
    from profile_pipelines.cli.output import (
        print_json,
        spell_bytes,
        spell_count,
        spell_time,
        stdout,
        table,
    )

    found = place.manifests()
    if as_json:
        print_json([_document(each) for each in found])
        return
    rows = table("backup", "taken (UTC)", "#tables", "#files", "#size")
    for each in found:
        rows.add_row(
            each.id, spell_time(each.taken_at, "UTC"), spell_count(_tables(each)),
            spell_count(len(each.files)), spell_bytes(each.size),
        )  # fmt: skip
    stdout().print(rows if found else f"There is no backup in {place}")


def _tables(manifest: Manifest) -> int:
    return len({part.rpartition("/")[0] for part in manifest.tables})


def _document(manifest: Manifest) -> dict[str, Any]:
    return {
        "backup": manifest.id,
        "taken_at": manifest.taken_at,
        "tables": _tables(manifest),
        "files": len(manifest.files),
        "bytes": manifest.size,
    }


def _tell_proof(manifest: Manifest, proof: Proof) -> None:
    from profile_pipelines.cli.output import (
        spell_bytes,
        spell_count,
        spell_many,
        stderr,
        stdout,
        styled,
    )

    if not proof.wrong:
        stdout().print(
            f"The backup {manifest.id} is sound: {spell_many(proof.files, 'file')} "
            f"({spell_bytes(proof.size)}) read, {spell_many(proof.tables, 'table')} with "
            f"{spell_count(proof.rows)} rows and a ledger with {spell_count(proof.ledger_rows)}, "
            "which go together",
            soft_wrap=True,
        )
        return
    for each in proof.wrong:
        stderr().print(styled(each, "red"), soft_wrap=True)
    stderr().print(
        f"The backup {manifest.id} can't be put back as it is: use another one (`backup --list`), "
        "or bring these files back; a damaged file is copied anew by the next `backup` once it is "
        "deleted",
        soft_wrap=True,
    )


@contextmanager
def _progress() -> Generator[Callable[[str, int, int], None]]:
    """How far it is, on stderr: on a terminal a line that changes, else one for each step."""
    from profile_pipelines.cli.output import spell_bytes, stderr

    console = stderr()
    if not console.is_terminal:
        last = ""

        def lines(what: str, done: int, total: int) -> None:
            nonlocal last
            step = what.partition(":")[0]
            if step != last:
                last = step
                size = f" {spell_bytes(total)}" if total else ""
                console.print(f"{step}{size}", soft_wrap=True)

        yield lines
        return
    with console.status("") as shown:

        def line(what: str, done: int, total: int) -> None:
            far = f": {spell_bytes(done)} of {spell_bytes(total)}" if total else ""
            shown.update(f"{what}{far}")

        yield line
