"""A source that can't hold a run for ever, whatever it is that hangs.

What a source is asked is asked in a thread of its own, while the run waits for so long and no
longer: for all that a sync wants together, and where the connection says so for each next part.
Then the source is told to give up (a statement is cancelled, no further request is made), and
whatever doesn't heed that is left behind, with what it brings thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from profile_pipelines.catalog.connections import RestConnection
from profile_pipelines.catalog.durations import format_duration
from profile_pipelines.catalog.systems import Sync, System
from profile_pipelines.errors import SourceUnreachable
from profile_pipelines.sources.reading import ReadRequest, Source

if TYPE_CHECKING:
    import pyarrow as pa

    from profile_pipelines.sources.event_log import Event as LoggedEvent
    from profile_pipelines.sources.rest_deleted import Deleted

_AHEAD = 2
"""So many batches lie ready at most."""
_LEFT_ALONE_AFTER = 1.0
"""Seconds that a source which was told to give up gets for it."""
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 60.0
"""Seconds between two times that a source is told."""
_T = TypeVar("_T")

_left: list[Thread] = []


class Stop:
    """Ends at once whatever waits for a source in the threads that heed it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked = False
        self._waiting: set[Queue[Any]] = set()

    @property
    def asked(self) -> bool:
        """Whether it was called."""
        return self._asked

    def __call__(self) -> None:
        """Those who wait, now or later, get a KeyboardInterrupt."""
        with self._lock:
            self._asked = True
            for queue in self._waiting:
                with suppress(Full):  # nobody waits for a queue that has something
                    queue.put_nowait(_End(None))

    def heeded(self) -> None:
        """Heed it in this thread from now on."""
        _heeded.set(self)

    @contextmanager
    def woken(self, queue: Queue[Any]) -> Iterator[None]:
        """While the queue is waited for."""
        with self._lock:
            self._waiting.add(queue)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.discard(queue)

    def check(self) -> None:
        """Raise KeyboardInterrupt when it was called."""
        if self._asked:
            raise KeyboardInterrupt


_heeded: ContextVar[Stop | None] = ContextVar("_heeded", default=None)


class _End:
    """Nothing more comes, since all of it came or an error did."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class TimeLimited:
    """The sync's source within the limits that the catalogue gives it, from now on.

    Beyond them its methods raise SourceUnreachable, whose message begins with `where`.
    """

    def __init__(self, where: str, system: System, sync: Sync, source: Source) -> None:
        self.where = where
        self.source = source
        self._at_most = system.at_most_of(sync)
        self._deadline = monotonic() + self._at_most.total_seconds()
        # an API's own is about each request, between which there may be pauses
        timed = not isinstance(system.connection, RestConnection)
        self._patience = system.connection.timeout if timed else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    @property
    def dialects(self) -> Mapping[str, str]:
        """How the CSV files are written that were read so far."""
        return getattr(self.source, "dialects", {})

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        return self._waited("give its records", lambda: self.source.read(request))

    def change_mark(self) -> str | None:
        return self._asked("say whether anything changed", self.source.change_mark)

    def has_newer(self, since: datetime) -> bool | None:
        return self._asked("say what changed", lambda: self.source.has_newer(since))

    def inspect(self) -> dict[str, str]:
        return self._asked("say which fields it has", self.source.inspect)

    def events(self, since: datetime) -> list[LoggedEvent]:
        """As `RestSource.events`."""
        api: Any = self.source
        return self._asked("give its events", lambda: api.events(since))

    def deleted(self, since: datetime | None, resume: str | None) -> Deleted:
        """As `RestSource.deleted`."""
        api: Any = self.source
        return self._asked("list what was deleted", lambda: api.deleted(since, resume))

    def _asked(self, what: str, ask: Callable[[], _T]) -> _T:
        def answer() -> Iterator[_T]:
            yield ask()

        [answered] = list(self._waited(what, answer))
        return answered

    def _waited(self, what: str, give: Callable[[], Iterator[_T]]) -> Generator[_T]:
        """The things that `give` gives in another thread."""
        queue: Queue[_T | _End] = Queue(_AHEAD)
        given_up = Event()
        thread = Thread(
            target=_hand_over, args=(give, queue, given_up), name=self.where, daemon=True
        )
        thread.start()
        ended = False
        try:
            while True:
                thing = self._next(what, queue)
                if isinstance(thing, _End):
                    ended = True
                    if thing.error is not None:
                        raise thing.error
                    return
                yield thing
        except GeneratorExit:
            # who reads has enough: the source can be asked again
            _turn_away(queue, given_up)
            thread.join(_LEFT_ALONE_AFTER)
            raise
        finally:
            if not ended and (thread.is_alive() or not given_up.is_set()):
                _turn_away(queue, given_up)
                self._cancel(thread)
            thread.join(_LEFT_ALONE_AFTER)
            if thread.is_alive():
                _left.append(thread)

    def _next(self, what: str, queue: Queue[_T | _End]) -> _T | _End:
        began, stop = monotonic(), _heeded.get()
        left = self._deadline - began
        patience = None if self._patience is None else self._patience.total_seconds()
        wait = max(0.0, left if patience is None else min(left, patience))
        try:
            if stop is None:
                return queue.get(timeout=wait)
            with stop.woken(queue):
                stop.check()
                thing = queue.get(timeout=wait)
            stop.check()
            return thing
        except Empty:
            self._refuse(what, patience is not None and patience < left)

    def _refuse(self, what: str, was_silent: bool) -> NoReturn:
        place = getattr(self.source, "place", None) or "the source"
        if was_silent:
            assert self._patience is not None
            waited = (
                f"waited {format_duration(self._patience)} for {place} to {what}, in vain "
                "(`timeout` of the connection)"
            )
            more = "see what keeps it, or allow more"
        else:
            waited = (
                f"{place} didn't {what} within {format_duration(self._at_most)}, in which all of a "
                "sync must be read (`at_most` of the sync or system)"
            )
            more = "see what keeps it, read less at once, or allow more"
        raise SourceUnreachable(f"{self.where}: {waited}; nothing of it was taken: {more}")

    def _cancel(self, thread: Thread) -> None:
        cancel: Callable[[], None] | None = getattr(self.source, "cancel", None)
        if cancel is not None:
            # to tell a machine that doesn't answer any more may take as long again
            Thread(target=_cancelled, args=(cancel, thread), daemon=True).start()


def left_behind() -> bool:
    """Whether threads of this process still wait for sources that were given up.

    Python aborts a process that ends while such a thread is within a library's own code.
    """
    _left[:] = [thread for thread in _left if thread.is_alive()]
    return bool(_left)


def _turn_away(queue: Queue[Any], given_up: Event) -> None:
    given_up.set()
    with suppress(Empty):
        while True:
            queue.get_nowait()


def _cancelled(cancel: Callable[[], None], thread: Thread) -> None:
    """Again after a while: between two statements there is nothing to cancel."""
    pause = _FIRST_PAUSE
    while thread.is_alive() and pause < _LAST_PAUSE:
        with suppress(Exception):  # of whichever driver, whose connection may be gone
            cancel()
        thread.join(pause)
        pause *= 2


def _hand_over(give: Callable[[], Iterator[Any]], queue: Queue[Any], given_up: Event) -> None:
    """Nothing waits here for ever: after giving up the queue is empty, and two things fit in."""
    error: BaseException | None = None
    try:
        things = give()
        try:
            for thing in things:
                if given_up.is_set():
                    break
                queue.put(thing)
        finally:
            if isinstance(things, Generator):
                things.close()
    except BaseException as raised:  # told where it is waited for, a library's panic, too
        error = raised
    if not given_up.is_set():
        queue.put(_End(error))
