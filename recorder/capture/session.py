"""One recording, from the log of the raw records through the decoder into the store and to the sinks."""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import perf_counter_ns
from weakref import WeakSet

import msgspec
import torch
from torch import nn

from recorder.capture.backward_hooks import Gradients
from recorder.capture.collective_events import CollectiveEvents
from recorder.capture.compiled_models import Eagerly, original
from recorder.capture.decode import Decoder
from recorder.capture.describe import describe, describe_early, replaced
from recorder.capture.functional_call import unwatch, watch
from recorder.capture.holdings import HOLDINGS, raw_holdings
from recorder.capture.issues import Issue
from recorder.capture.known_tensors import KnownTensors
from recorder.capture.mode_stack import restore
from recorder.capture.module_hooks import Capture
from recorder.capture.process_groups import ProcessGroups, job
from recorder.capture.raw_records import Log
from recorder.capture.shortfalls import Shortfalls
from recorder.capture.strangers import Strangers
from recorder.capture.tensor_facts import Reference
from recorder.capture.value_hooks import Values
from recorder.events.rank_digest import RankDigest
from recorder.events.store import Store
from recorder.events.stream import EventStream
from recorder.events.types import Event, Header
from recorder.gc_pause import collector_held_back

__all__ = ["Session"]

_CROWD = 10_000
"""So many tensors are remembered, where memory is not to grow, before those that are gone are looked for."""


class Session:
    """What is recorded from `begin` to `end`; may be begun again, and then goes on.

    Args:
        roots: the modules whose calls are recorded, by the prefix of their names.
        store: where the events go.
        header: what the recording says of itself.
        functions: see `Capture`, as for ``gradients``, ``every``, ``source``, ``values`` and ``memory``.
        gradients: see there.
        every: see there.
        source: see there.
        values: see there.
        memory: see there.
        read_autograd: is given the known tensors whenever the autograd graph may be worth reading; None if nobody wants
            it read while the run goes on.

    Attributes:
        recording: whether it has begun and not ended.
        capture: the sources of the log.
        changes: how many events there were so far.
        shortfalls: what the recording falls short of.
    """

    def __init__(
        self,
        roots: Mapping[str, nn.Module],
        store: Store,
        header: Header,
        *,
        functions: bool,
        gradients: Gradients,
        every: int,
        source: bool,
        values: Values | None,
        memory: bool,
        read_autograd: Callable[[KnownTensors], None] | None,
    ) -> None:
        before_backward = self._read_autograd if read_autograd is not None and functions else None
        self.capture = Capture(
            roots, functions, describe_early, gradients, every, before_backward, source, values, memory
        )
        self.header = header
        self.recording = False
        self.changes = 0
        self._store = store
        self._reads = read_autograd
        self._reads_after_calls = read_autograd is not None and not functions
        self.shortfalls = Shortfalls(header.meta)
        self._eagerly = Eagerly(self.capture, header.meta, self.shortfalls)
        self._process_groups = ProcessGroups(self.capture, self.shortfalls)
        self._decoder: Decoder | None = None
        self._pending: list[Log] = []
        self._told: dict[int, Reference] = {}
        self._ready = 0
        self._sinks: Sequence[Callable[[Event], None]] = ()
        self._crowded = _CROWD
        self._heard = False
        self._functions = functions
        self._digest = RankDigest()

    def begin(self, open_sinks: Callable[[], Sequence[Callable[[Event], None]]]) -> None:
        """Record from here on. What is recorded goes to the sinks, too, which are opened if there is anywhere to go."""
        if self._decoder is None:
            created = datetime.now(UTC).isoformat(timespec="seconds")
            self.header = msgspec.structs.replace(self.header, created=created)
            origin = perf_counter_ns()
            self._decoder = Decoder(origin)
            self._collectives = CollectiveEvents(self._process_groups.operations, origin)
        self.header.meta.update(job())
        self._store.begin(self.header)
        self._sinks = open_sinks()
        self._eagerly.start()
        watch(self.capture.replaced)
        self._process_groups.operations.at_once = self._write_at_once if self._store.outlives else None
        self._process_groups.start()
        self._modes_asked = torch._C._is_torch_function_enabled()
        self.recording = True
        _recording.add(self)
        if self._goes_on:
            self.capture.after_call = self._hand_on
        elif self._reads_after_calls:
            self.capture.after_call = self._read_autograd
        if self._store.open:
            self._heard, self.capture.outside.strangers = False, Strangers()
            self.capture.start()

    def end(self, error: BaseException | None) -> list[str]:
        """Record no longer, because of an error or because all is done. Returns our own errors, in words."""
        ours = self.recording and self._store.open
        self._stop(error)
        whole = False
        try:
            if self._reads is not None:
                self._read_autograd()
            self._take()
            if ours:
                self._sum_up(error is None)
            if self._goes_on or self._process_groups.any:
                self._decode()
            if self._process_groups.any:
                self._hand_over([self._digest.summary()])
            whole = True
        except Exception as ours:
            self.capture.faults.add(ours)
        finally:
            self._store.end(whole)
        faults, self.capture.faults.said = self.capture.faults.said, []
        return faults

    def _sum_up(self, whole: bool) -> None:
        """Say what the models hold, and what of it was called."""
        capture = self.capture
        outside, elsewhere = capture.outside, frozenset(capture.elsewhere)
        nothing = None
        if whole and outside.strangers is not None and not outside.skipping:
            roots = [original(root) for root in capture.modules.roots().values()]
            nothing = outside.strangers.instead(roots, elsewhere, self._heard)
            if nothing is not None:
                self.shortfalls.nothing(nothing)
        began_with, capture.known.held = capture.known.held, []
        followed = whole and "not_followed" not in self.header.meta  # what was not may have called anything
        if nothing is not None or capture.modules.are_all_there():
            with torch._C.DisableTorchFunction():
                said = raw_holdings(capture.modules, began_with, elsewhere, self._functions, followed, nothing)
            self._cut()
            self._pending.append([HOLDINGS, said])

    def catch_up(self) -> None:
        """Turn everything that was recorded so far into events."""
        if self.recording:
            self._take()
        self._decode()

    def stream(self) -> EventStream:
        """Everything that was recorded so far."""
        self.catch_up()
        return EventStream(header=self.header) if self._decoder is None else self._store.stream()

    def number(self, reference: Reference) -> int | None:
        """The number of a tensor in the events so far; None if it is in none."""
        return None if self._decoder is None else self._decoder.number(reference)

    def describe_now(self) -> None:
        """Describe the modules that were met so far, which may be gone when the recording ends."""
        with torch._C.DisableTorchFunction():
            self._take()

    def stop_early(self) -> None:
        """Record no longer, although the end is still to come: the run goes on as if nobody had recorded."""
        self.describe_now()
        ours = self._store.open
        self._stop()
        if ours:
            self._sum_up(whole=True)

    def leave_to_parent(self) -> None:
        """In a process that was forked off meanwhile, as a data loader's workers are: what it does is no part of the
        recording, and the file is not its own.
        """
        self._stop()
        self._store.open = False
        self._sinks = ()

    @property
    def _goes_on(self) -> bool:
        """Whether events go somewhere while the run goes on."""
        return self._store.live or bool(self._sinks)

    def _stop(self, error: BaseException | None = None) -> None:
        if not self.recording:
            return
        self.capture.stop(error)
        self._process_groups.stop()
        unwatch(self.capture.replaced)
        self._eagerly.stop()
        self.recording = False
        _recording.discard(self)
        restore(self._modes_asked)

    def _hand_on(self) -> None:
        """A call from outside has returned: what is recorded goes where it is to be, and out of memory."""
        if self._reads_after_calls:
            self._read_autograd()
        with torch._C.DisableTorchFunction():
            self._take()
        self._decode()
        if self._store.live and len(self._decoder or ()) > self._crowded:
            self._forget()
        if not self._store.open:
            self.capture.stop()

    def _forget(self) -> None:
        assert self._decoder is not None
        known = self.capture.known
        known.tidy()
        self._store.forget(*self._decoder.forget(known.remembered()))
        self._crowded = max(_CROWD, 2 * len(self._decoder))

    def _take(self) -> None:
        """Say what there is to decode. Modules are described now: they may be gone when somebody asks."""
        capture = self.capture
        with torch._C.DisableTorchFunction():
            described = describe(capture.modules.roots(), capture.modules.met, capture.known, self._told)
        capture.backward.read()
        capture.watchers.read()
        capture.modules.met.clear()
        for record in self._process_groups.carried():
            capture.log.extend(record)
        self._pending.append(described + replaced(capture.backward.marked, described, self._told, capture.log))
        self._ready = len(capture.log)
        self._heard = self._heard or self._ready > 0

    def _cut(self) -> None:
        if self._ready:
            log = self.capture.log
            self._pending.append(log[: self._ready])
            del log[: self._ready]
            self._ready = 0

    def _decode(self) -> None:
        self._cut()
        while self._pending:
            assert self._decoder is not None
            with collector_held_back():
                events = list(self._decoder.decode(self._pending[0]))
                if self._process_groups.any:
                    events = self._collectives.completed(events)
            # Before the sinks get it: one may be interrupted, or ask for the recording.
            del self._pending[0]
            self._hand_over(events)

    def _hand_over(self, events: list[Event]) -> None:
        self.changes += len(events)
        if self._process_groups.any:
            self._digest.extend(events)
        self._store.extend(self._collectives.unwritten(events) if self._store.outlives else events)
        for sink in self._sinks:
            for event in events:
                sink(event)

    def _write_at_once(self, issue: Issue) -> None:
        self._store.at_once(self._collectives.before(issue))

    def _read_autograd(self) -> None:
        assert self._reads is not None
        self._reads(self.capture.known)


_recording: "WeakSet[Session]" = WeakSet()
"""Those that have begun and not ended."""


def _forked() -> None:
    for session in list(_recording):
        session.leave_to_parent()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)
