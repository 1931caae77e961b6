"""Several answers at the same time, as one stream of (name, token); waiting that hears a stop. Knows no model."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

from vlm2vla.errors import ModelError
from vlm2vla.vlm.chat import Token

Value = TypeVar("Value")
HEARD_S = 0.05
"""A stop is heard this soon by whoever waits for something else."""
Stream = Iterator[tuple[str, Token | ModelError]]
Start = Callable[[threading.Event], Stream]
"""Begins a stream that ends soon after the event is set."""


def together(starts: Sequence[Start], stopped: threading.Event | None = None) -> Stream:
    """Run all streams, each in a thread of its own, and give what they give in the order of arrival.

    When the caller stops listening, or sets `stopped`, all of them are told to stop.
    """
    cancel = _Either(stopped)
    if len(starts) == 1:
        yield from starts[0](cancel)
        return
    arrived: queue.Queue = queue.Queue(maxsize=64)

    def run(start: Start) -> None:
        try:
            for item in start(cancel):
                arrived.put(item)
        except BaseException as error:  # raised again where somebody listens
            arrived.put(error)
        finally:
            arrived.put(None)

    threads = [threading.Thread(target=run, args=(start,), daemon=True) for start in starts]
    for thread in threads:
        thread.start()
    try:
        yield from _items(arrived, len(threads))
    finally:
        cancel.set()
        while any(thread.is_alive() for thread in threads):  # nobody may wait for room in the queue
            try:
                arrived.get(timeout=0.05)
            except queue.Empty:
                continue


def _items(arrived: queue.Queue, going: int) -> Stream:
    while going:
        item = arrived.get()
        if item is None:
            going -= 1
        elif isinstance(item, BaseException):
            raise item
        else:
            yield item


def unless_stopped(call: Callable[[], Value], stopped: threading.Event | None) -> Value | None:
    """What `call` returns or raises; None, at once, when somebody stops waiting. Then it goes on alone, unheard."""
    if stopped is None:
        return call()
    if stopped.is_set():
        return None
    result: Future[Value] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # raised again where somebody waits
            result.set_exception(error)

    threading.Thread(target=run, name="unless-stopped", daemon=True).start()
    while not stopped.is_set():
        if wait([result], timeout=HEARD_S).done:
            return result.result()
    return None


class _Either(threading.Event):
    """Set by itself, or by another event that it watches."""

    def __init__(self, other: threading.Event | None):
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or (self._other is not None and self._other.is_set())
