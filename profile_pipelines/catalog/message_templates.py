"""The templates of messages: `templates/NAME.txt`, and `NAME.html` where mail has a design.

The text begins with a line `Subject: …` and an empty line. Templates are Jinja2, rendered in a
sandbox; what they may name are the catalogue's attributes and identifiers, and a few words more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from profile_pipelines.catalog.mistakes import Mistake, did_you_mean

if TYPE_CHECKING:
    from profile_pipelines.catalog.template_language import MessageEnvironment

FOLDER = "templates"
GIVEN = {
    "unsubscribe_url": "the link that withdraws the consent",
    "today": "today's date, where the customer is",
    "journey": "the journey's name",
}
"""What every template may name beside attributes and identifiers."""
_MAX_BYTES = 1024 * 1024
_SUBJECT = "Subject:"


@dataclass(frozen=True)
class MessageTemplate:
    """A message's texts as they stand in the files; `html` None: there is only text."""

    name: str
    subject: str
    text: str
    html: str | None = None
    variables: frozenset[str] = field(default_factory=frozenset[str])
    """The attributes and identifiers that it names."""


def environment(*, html: bool) -> MessageEnvironment:
    """How templates are read and rendered."""
    from profile_pipelines.catalog.template_language import MessageEnvironment

    return MessageEnvironment(html=html)


def read_templates(
    folder: FilePath, known: Mapping[str, object]
) -> tuple[dict[str, MessageTemplate], list[Mistake]]:
    """The templates of the catalogue in `folder`, and their mistakes.

    `known` has the names of the catalogue's attributes and identifiers.
    """
    found: dict[str, MessageTemplate] = {}
    mistakes: list[Mistake] = []
    if not (folder / FOLDER).is_dir():
        return found, mistakes
    for path in sorted((folder / FOLDER).iterdir()):
        file = f"{FOLDER}/{path.name}"
        if path.name.startswith(".") or (
            path.suffix == ".html" and path.with_suffix(".txt").exists()
        ):
            continue
        if path.suffix != ".txt":
            text = (
                "isn't read; a template is NAME.txt, with NAME.html beside it for a mail's design"
            )
            mistakes.append(Mistake(file, 1, (), text))
            continue
        template, wrong = _read(path, file, known)
        mistakes += wrong
        if template is not None:
            found[template.name] = template
    return found, mistakes


def _read(
    path: FilePath, file: str, known: Mapping[str, object]
) -> tuple[MessageTemplate | None, list[Mistake]]:
    try:
        whole = _content(path)
        html_path = path.with_suffix(".html")
        html = _content(html_path) if html_path.exists() else None
    except (OSError, ValueError) as error:
        why = "is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"{error}"
        return None, [Mistake(file, 1, (), f"can't be read: {why}")]
    first, _, rest = whole.partition("\n")
    if not first.startswith(_SUBJECT) or not first.removeprefix(_SUBJECT).strip():
        return None, [Mistake(file, 1, (), f"must begin with a line such as {_SUBJECT} Hello")]
    if rest.partition("\n")[0].strip():
        return None, [Mistake(file, 2, (), "must be empty; the text begins below it")]
    body = rest.partition("\n")[2]
    used: set[str] = set()
    mistakes = [
        *_check(first.removeprefix(_SUBJECT).strip(), file, 0, known, used),
        *_check(body, file, 2, known, used),
        *(_check(html, f"{FOLDER}/{html_path.name}", 0, known, used) if html is not None else ()),
    ]
    if mistakes:
        return None, mistakes
    subject = first.removeprefix(_SUBJECT).strip()
    return MessageTemplate(path.stem, subject, body, html, frozenset(used & set(known))), []


def _content(path: FilePath) -> str:
    with path.open("rb") as opened:
        content = opened.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError("it is larger than 1 MB")
    return content.decode().replace("\r\n", "\n")


def _check(
    source: str, file: str, lines_before: int, known: Mapping[str, object], used: set[str]
) -> Iterator[Mistake]:
    from jinja2 import TemplateSyntaxError, meta, nodes

    try:
        reading = environment(html=False)
        tree = reading.parse(source)
        wanted = meta.find_undeclared_variables(tree)
        # names of filters are looked up only here
        reading.compile(tree)
    except TemplateSyntaxError as error:
        yield Mistake(file, error.lineno + lines_before, (), f"{error.message}")
        return
    used |= wanted
    for name in sorted(wanted - set(known) - set(GIVEN)):
        line = next((node.lineno for node in tree.find_all(nodes.Name) if node.name == name), 1)
        hint = did_you_mean(name, [*known, *GIVEN])
        text = f"unknown variable {name}{hint or '; it may name attributes and identifiers'}"
        yield Mistake(file, line + lines_before, (), text)
