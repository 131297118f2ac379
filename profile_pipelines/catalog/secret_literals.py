"""Secrets written into the catalogue as plain text, which are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast
from urllib.parse import unquote

from profile_pipelines.catalog.mistakes import Path
from profile_pipelines.catalog.plain_words import SECRET_WANTED

_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)?|pwd|secret|token|api_?key|access_?key|private_?key|signing_?key"
    r"|auth_?key|account_?key|shared_?key|credentials?|authori[sz]ation|cookie|signature|sas|sig",
    re.IGNORECASE,
)
_NOT_FILLED_IN = re.compile(
    r"""\{\{.*?\b(?:env_var|env|getenv)\b\W+(\w+).*?\}\}   # as dbt and Jinja have it
    |\$\{(?:env[.:])?(\w+)[^}]*\}                     # as shells and Compose have it
    |^\$([A-Z_][A-Z0-9_]*)$""",
    re.VERBOSE,
)
_SECRET_IN_URL = re.compile(
    r"""://[^/?\#\s:@]*:(?!\d+[/?\#])[^\s@]+@   # user:password@host, not host:port/…@
    |[?&;\s](pwd|password|passwd|token|secret|sig|api_?key|access_?key|access_token)=[^&;\s]+""",
    re.IGNORECASE | re.VERBOSE,
)


def literal_secrets(source: object) -> Iterator[tuple[Path, str]]:
    """The places in the declaration of a source, channels or a destination where a secret stands as
    plain text, or another tool's way to name an environment variable."""
    if isinstance(source, dict):
        declaration = cast(dict[str, Any], source)
        yield from _search(declaration.get("connection"), ("connection",))
        yield from _search(declaration.get("channels"), ("channels",))
        yield from _search(declaration.get("to"), ("to",))
        syncs = declaration.get("syncs")
        if isinstance(syncs, dict):
            for name, sync in cast(dict[str, Any], syncs).items():
                if isinstance(sync, dict):
                    options = cast(dict[str, Any], sync)
                    for key in ("params", "path", "headers", "body", "graphql", "bulk", "one"):
                        yield from _search(options.get(key), ("syncs", name, key))


def _search(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict):
        for key, item in cast(dict[str, object], value).items():
            yield from _search(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(cast(list[object], value)):
            yield from _search(item, (*path, index))
    elif value is None or isinstance(value, bool):
        return
    elif isinstance(value, str) and path[-1] != "query" and (found := _NOT_FILLED_IN.search(value)):
        name = next(filter(None, found.groups()))
        whole = "" if found[0] == value.strip() else "the whole value as "
        yield path, f"isn't filled in here; write {whole}{{env: {name}}}"
    elif _is_secret_key(path):
        yield path, SECRET_WANTED
    elif isinstance(value, str) and _SECRET_IN_URL.search(unquote(value)):
        text = "holds a secret; write the whole of it as {env: NAME} and set that variable"
        yield path, text


def _is_secret_key(path: Path) -> bool:
    key = path[-1]
    if not isinstance(key, str):
        return False
    words = re.split(r"[-_.\s]", re.sub(r"([a-z])([A-Z])", r"\1_\2", key))
    pairs = ["".join(pair) for pair in pairwise(words)]
    return any(_SECRET_KEY.fullmatch(word) for word in [key, *words, *pairs])
