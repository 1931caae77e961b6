"""Decides when a paid request may leave: pauses that the server asks for, repeated tries, the spending cap.

One governor is shared by all threads that use one account. Knows no provider: an adapter turns each failed try into
`TryAgain` or lets its typed error through. Time and randomness are injectable.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from vlm2vla.errors import ModelError, ModelUnavailableError, SpendingCapError
from vlm2vla.vlm.protocol import Usage, Watch

logger = logging.getLogger(__name__)

Reply = TypeVar("Reply")
# A server that asks for more than this is out of quota for the day; waiting would look like hanging.
LONGEST_PAUSE_S = 600.0


class TryAgain(Exception):
    """One try failed in a way that a later one may not.

    Attributes:
        error: What to raise when tries are used up.
        retry_after_s: Pause that the server asked for, None when it did not.
        everybody: The pause holds for all requests of the account (quota), not only for this one.
        billed: False when the server did no work; None when nobody knows (no reply came).
    """

    def __init__(
        self,
        error: ModelUnavailableError,
        *,
        retry_after_s: float | None = None,
        everybody: bool = False,
        billed: bool | None = False,
    ):
        super().__init__(str(error))
        self.error, self.retry_after_s, self.everybody, self.billed = error, retry_after_s, everybody, billed


@dataclass(frozen=True)
class Pacing:
    """How tries are spaced.

    Attributes:
        attempts: Tries of one request.
        first_delay_s: Pause after the first failed try; doubled after each further one.
        longest_delay_s: Bound of these pauses (not of those that the server asks for).
        jitter: Share of a pause that is added at random, so that threads do not return at once.
    """

    attempts: int = 5
    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    jitter: float = 0.25


class Governor:
    """Lets requests leave, one `run` per request, from any number of threads."""

    def __init__(
        self,
        pacing: Pacing = Pacing(),
        *,
        max_cost: float = 0.0,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ):
        """Make a governor.

        Args:
            pacing: Tries and pauses.
            max_cost: Spending cap in US dollars; 0 sets none.
            seed: Of the jitter.
            clock: Seconds, monotonic.
            sleep: Waits for some seconds; the usual one ends early when `stop` is called.
        """
        self._pacing, self._max_cost, self._clock = pacing, max_cost, clock
        self._sleep = sleep or self._wait
        self._random = random.Random(seed)
        self._stopped = threading.Event()
        self._money = threading.Condition()
        self._spent = self._reserved = 0.0
        self._resume_at = float("-inf")
        self._pause = threading.Lock()

    @property
    def spent_usd(self) -> float:
        """What counts against the cap: paid replies, and the worst case of requests that were never answered."""
        return self._spent

    def stop(self) -> None:
        """Let nothing leave any more and end all pauses."""
        self._stopped.set()
        with self._money:
            self._money.notify_all()

    def run(
        self, call: Callable[[], tuple[Reply, Usage]], *, worst_usd: float, watch: Watch | None = None
    ) -> tuple[Reply, Usage]:
        """Send one request, again where that helps.

        Args:
            call: One try. Raises TryAgain, or a ModelError with `details["usage"]` when it was paid for nothing.
            worst_usd: The most that one try can cost; held back from the cap while it is under way.
            watch: Told of every try.

        Returns:
            The reply, and what it took with all unanswered tries before it.

        Raises:
            ModelUnavailableError: All tries failed, the pause asked for is too long, or `stop` was called.
            SpendingCapError: The next try could pass the cap.
            ModelError: What `call` raised, with the usage of unanswered tries added.
        """
        uncertain = Usage()
        for attempt in range(1, self._pacing.attempts + 1):
            try:
                self._wait_for_pause()
                self._reserve(worst_usd)
                reply, usage = self._try(call, worst_usd, watch)
                return reply, usage + uncertain
            except TryAgain as failed:
                if failed.billed is None:
                    uncertain += Usage(uncertain_usd=worst_usd)
                too_long = (failed.retry_after_s or 0.0) > LONGEST_PAUSE_S
                last = attempt == self._pacing.attempts
                if not too_long and (failed.everybody or not last):
                    self._back_off(failed, attempt)
                if too_long or last:
                    raise _with_usage(self._give_up(failed, attempt), uncertain) from failed
            except ModelError as error:
                _with_usage(error, uncertain)
                raise
        raise AssertionError("unreachable: attempts is at least 1")

    def _try(self, call, worst_usd: float, watch: Watch | None):
        """One try; what it took is settled against the cap in every case."""
        paid = worst_usd  # until known better: a crash in between must not free money
        try:
            if watch:
                watch("sent")
            reply, usage = call()
            paid = usage.cost_usd + usage.uncertain_usd
            return reply, usage
        except TryAgain as failed:
            paid = 0.0 if failed.billed is False else worst_usd
            if failed.billed is False and watch:
                watch("unbilled")
            raise
        except ModelError as error:
            usage = _usage_of(error)
            paid = usage.cost_usd + usage.uncertain_usd
            raise
        finally:
            self._settle(worst_usd, paid)

    def _reserve(self, worst_usd: float) -> None:
        """Hold back the worst case; waits for requests under way when their end may free enough."""
        with self._money:
            while True:
                self._raise_if_stopped()
                if not self._max_cost or self._spent + self._reserved + worst_usd <= self._max_cost:
                    self._reserved += worst_usd
                    return
                if self._reserved <= 1e-12:
                    raise SpendingCapError(
                        f"${self._spent:.4f} of the cap of ${self._max_cost:.2f} are spent and the next request may "
                        f"cost ${worst_usd:.4f}; what is paid is kept; raise --max-cost to go on",
                        details={"spent_usd": self._spent, "max_cost": self._max_cost},
                    )
                self._money.wait()

    def _settle(self, reserved: float, paid: float) -> None:
        with self._money:
            self._reserved = max(0.0, self._reserved - reserved)
            self._spent += paid
            self._money.notify_all()

    def _wait_for_pause(self) -> None:
        """Wait until no pause holds; a pause may be prolonged by another thread meanwhile."""
        while True:
            self._raise_if_stopped()
            with self._pause:
                left = self._resume_at - self._clock()
            if left <= 0:
                return
            self._sleep(left)

    def _back_off(self, failed: TryAgain, attempt: int) -> None:
        """Pause after a failed try: everybody where the account is over its quota, else only this thread."""
        with self._pause:
            spread = 1.0 + self._pacing.jitter * self._random.random()
        doubled = self._pacing.first_delay_s * 2 ** (attempt - 1)
        delay = spread * min(self._pacing.longest_delay_s, doubled)
        if failed.retry_after_s is not None:
            delay = failed.retry_after_s + spread - 1.0
        logger.info("%s; next try in %.1f s", failed.error, delay)
        if failed.everybody:
            with self._pause:
                self._resume_at = max(self._resume_at, self._clock() + delay)
        else:
            self._sleep(delay)

    def _give_up(self, failed: TryAgain, attempt: int) -> ModelError:
        long = (failed.retry_after_s or 0.0) > LONGEST_PAUSE_S
        why = f"the server asks to wait {failed.retry_after_s:.0f} s" if long else f"{attempt} tries failed"
        return type(failed.error)(f"{why}: {failed.error}", details={**failed.error.details, "tries": attempt})

    def _raise_if_stopped(self) -> None:
        if self._stopped.is_set():
            raise ModelUnavailableError("stopped before the request was sent", details={"stopped": True})

    def _wait(self, seconds: float) -> None:
        self._stopped.wait(seconds)


def _usage_of(error: ModelError) -> Usage:
    return Usage(**error.details.get("usage", {}))


def _with_usage(error: ModelError, more: Usage) -> ModelError:
    """The same error with `more` added to what was paid."""
    if more != Usage():
        error.details["usage"] = vars(_usage_of(error) + more)
    return error
