"""Files in an object store, for the engine: written once, never changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fsspec import AbstractFileSystem

_READ_BYTES = 1 << 20


class StoreFiles(AbstractFileSystem):
    """An object store as the engine sees it.

    The lake never changes a file, so each is asked about only once: the engine asks dozens of
    times, and every question would be a request.
    """

    cachable = False

    def __init__(self, store: AbstractFileSystem) -> None:
        super().__init__()
        self.store = store
        self.protocol = store.protocol
        self._known: dict[str, dict[str, Any]] = {}

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        name = str(self.store._strip_protocol(path))
        if name not in self._known:
            found = self.store.info(name, **kwargs)
            if found["type"] != "file":
                return found
            self._known[name] = found
        return self._known[name]

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(0, UTC)

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        if mode != "rb":
            return self.store.open(path, mode, **kwargs)
        size = self.info(path)["size"]
        return self.store.open(path, mode, _READ_BYTES, size=size, **kwargs)
