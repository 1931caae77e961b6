"""What worker processes leave behind: their results, or a plain word about their death."""

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from vlm2vla.errors import EvaluationError


def died(future: Future) -> bool:
    """Whether the worker of a finished piece of work was killed; sorts those that have results first."""
    return isinstance(future.exception(), BrokenProcessPool)


def result_of(future: Future) -> Any:
    """The result of a finished piece of work.

    Raises:
        EvaluationError: Its worker was killed.
    """
    if died(future):
        raise EvaluationError(
            "a worker process was killed, most likely because memory ran out; start the same command again with fewer "
            "--workers"
        ) from future.exception()
    return future.result()
