"""Reading mailboxes: Maildirs, mbox files, folders of `.eml` files. Nothing is changed there."""

from __future__ import annotations

import hashlib
import mailbox
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from profile_pipelines.errors import ProfilePipelinesError

LARGEST = 1024 * 1024
"""How much of a mail is read, in bytes: what a report says stands at its beginning."""


@dataclass(frozen=True)
class Stored:
    """A file of a mailbox. `mark` is another one when it was written anew."""

    path: Path
    mark: str
    is_mbox: bool = False

    def mails(self) -> Iterator[tuple[str, bytes]]:
        """Each mail's place, for people, and its first bytes. Raises ProfilePipelinesError."""
        try:
            if self.is_mbox:
                box = mailbox.mbox(self.path, create=False)
                try:
                    for number, key in enumerate(box.iterkeys(), 1):
                        with box.get_file(key) as file:
                            yield f"{self.path}:{number}", file.read(LARGEST)
                finally:
                    box.close()
            else:
                with self.path.open("rb") as file:
                    yield str(self.path), file.read(LARGEST)
        except FileNotFoundError:
            return  # a mail program has moved it; it's found there the next time
        except (OSError, mailbox.Error) as error:
            # the file's own name may hold an address
            raise ProfilePipelinesError(
                f"{self.path.parent}: a mail in it can't be read ({type(error).__name__})"
            ) from None


@dataclass(frozen=True)
class Mailbox:
    """The files of a mailbox, the oldest first as their names have it."""

    path: Path
    files: list[Stored] = field(default_factory=list[Stored])


def open_mailbox(path: Path) -> Mailbox:
    """What lies at a path. Raises ProfilePipelinesError where that is nothing, or no mailbox."""
    try:
        if path.is_dir():
            folders = [path / name for name in ("new", "cur") if (path / name).is_dir()]
            if folders:
                names = [each for folder in folders for each in folder.iterdir() if each.is_file()]
                # a mail keeps its name when a mail program has seen it: only what follows changes
                files = [Stored(each, _mark(each.name.partition(":")[0])) for each in names]
            else:
                files = [_stored(each) for each in path.rglob("*.eml") if each.is_file()]
            return Mailbox(path, sorted(files, key=lambda each: each.path.name))
        with path.open("rb") as file:
            is_mbox = file.read(5) == b"From "
        return Mailbox(path, [_stored(path, is_mbox=is_mbox)])
    except OSError as error:
        raise ProfilePipelinesError(
            f"{path}: no mailbox can be read there ({error.strerror}); give a Maildir, an mbox "
            "file, or a folder of .eml files"
        ) from None


def _stored(path: Path, *, is_mbox: bool = False) -> Stored:
    found = path.stat()
    return Stored(path, _mark(str(path), found.st_size, found.st_mtime_ns), is_mbox)


def _mark(*told: object) -> str:
    """A name may hold an address: its hash doesn't."""
    return hashlib.sha256(repr(told).encode("utf-8", "surrogateescape")).hexdigest()[:32]
