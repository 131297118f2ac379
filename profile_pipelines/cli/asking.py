"""Questions before what can't be undone."""

from __future__ import annotations

import typer

from profile_pipelines.cli.output import stderr
from profile_pipelines.errors import ProfilePipelinesError


def ask(question: str, because: str) -> None:
    """Ask on the terminal, and end the command with a no.

    Raises ProfilePipelinesError, which tells `because` of what is asked, where nobody can answer.
    """
    if not stderr().is_terminal:
        raise ProfilePipelinesError(f"{because}; give --yes to do it unasked")
    typer.confirm(question, abort=True, err=True)
