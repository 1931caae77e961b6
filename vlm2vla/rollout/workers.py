"""Work in several processes, a piece at a time, so that it can be ended; with a plain word about a worker that died."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from vlm2vla.errors import EvaluationError
from vlm2vla.rollout.drivers import one_thread_each

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Piece], Result],
    pieces: Iterable[Piece],
    workers: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Result]:
    """Results in the order in which they are done.

    A piece is handed out when a worker is free for it, so that little is under way when `stopped` says so, when
    something raises, or when whoever listens is interrupted: that is waited for, and nothing more begins.

    Args:
        work: What is done with a piece; something that another process can import.
        pieces: Taken one at a time; none of them is None.
        workers: Number of processes.
        stopped: Asked before each piece.

    Raises:
        EvaluationError: A worker was killed.
        Exception: Whatever `work` raised, after the results that others had by then.
    """
    # Graphics and threads of this process do not survive a fork.
    context = multiprocessing.get_context("spawn")
    rest, running, finished = iter(pieces), set[Future](), set[Future]()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=one_thread_each) as pool:
        try:
            while True:
                # Handed out before results are passed on: no worker waits while somebody looks at them.
                free = 0 if any(map(_failed, finished)) else workers - len(running)
                while free > 0 and not stopped() and (piece := next(rest, None)) is not None:
                    running.add(pool.submit(work, piece))
                    free -= 1
                for future in sorted(finished, key=_failed):
                    yield future.result()
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
        except BrokenProcessPool as error:
            raise EvaluationError(
                "a worker process was killed, most likely because memory ran out; start the same command again with "
                "fewer --workers"
            ) from error


def _failed(future: Future) -> bool:
    """Whether a finished piece of work has no result; sorts those that have one first."""
    return future.exception() is not None
