"""Every error that people are meant to read.

    ProfilePipelinesError
    ├── CatalogueError          mistakes in the catalogue, all at once
    ├── SourceError             a source system can't be read
    │   ├── MissingField        a field that the catalogue maps, and the source hasn't got
    │   ├── SourceUnreachable   worth another try later
    │   └── NoSuchRecord        the system says that it hasn't got it
    ├── ChannelError            nothing can be sent over a channel now
    ├── DestinationError        nothing can be delivered to a destination now
    ├── UnknownName             a name that nothing in the catalogue bears
    ├── NotFound                no profile has this identifier
    └── LakeError               the lake can't be read or written
        └── Conflict            another writer committed first; read again and retry

The command line prints them without a traceback. None of them carries personal data.
"""

from __future__ import annotations


class ProfilePipelinesError(Exception):
    """Base of all errors with a message for people."""


class CatalogueError(ProfilePipelinesError):
    """The catalogue has mistakes; `mistakes` holds one `file:line: path: text` line for each."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


class SourceError(ProfilePipelinesError):
    """A source system can't be read as its declaration says."""


class MissingField(SourceError):
    """The source hasn't got a field that was asked for; `field` is its name or path."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class SourceUnreachable(SourceError):
    """The system didn't answer, or answered with a passing fault, after all retries."""


class NoSuchRecord(SourceError):
    """The system hasn't got what was asked for by its address."""


class ChannelError(ProfilePipelinesError):
    """Nothing can be sent over a channel now."""


class DestinationError(ProfilePipelinesError):
    """Nothing can be delivered to a destination now; `after` is how many seconds it asked for."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        self.after = after
        super().__init__(message)


class UnknownName(ProfilePipelinesError):
    """A system, attribute or audience that the catalogue doesn't declare."""


class NotFound(ProfilePipelinesError):
    """No profile has the given identifier."""


class LakeError(ProfilePipelinesError):
    """A lake table can't be read or written."""


class Conflict(LakeError):
    """Another writer committed to the table first."""
