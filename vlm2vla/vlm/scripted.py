"""A model whose answers are a function: for tests and demonstrations. Costs nothing, knows no network."""

import time
from collections.abc import Callable

from vlm2vla.vlm.answers import parse_answer
from vlm2vla.vlm.protocol import Estimate, Usage, VLMAnswer, VLMRequest, Watch


class ScriptedVLM:
    """Answers each request with `script(request)`; an exception that the script raises is the model's failure."""

    def __init__(
        self,
        script: Callable[[VLMRequest], str],
        *,
        model: str = "scripted",
        model_version: str = "scripted-1",
        cost_usd: float = 0.0,
    ):
        """Make the model.

        Args:
            script: The answer to a request.
            model: Model id to report.
            model_version: Version to report.
            cost_usd: Price to report for each answer.
        """
        self.model, self.model_version = model, model_version
        self.requests: list[VLMRequest] = []
        self._script, self._cost = script, cost_usd

    def answer(self, request: VLMRequest, *, watch: Watch | None = None) -> VLMAnswer:
        """See `VLM.answer`."""
        started = time.monotonic()
        self.requests.append(request)
        if watch:
            watch("sent")
        text = self._script(request)
        usage = Usage(1, self.count_tokens(request), len(text) // 4 + 1, self._cost)
        parsed = parse_answer(text, request, usage)
        return VLMAnswer(text, parsed, self.model, self.model_version, usage, time.monotonic() - started)

    def count_tokens(self, request: VLMRequest) -> int:
        """A quarter of the characters, 258 for an image."""
        return len(request.text) // 4 + 258 * len(request.images)

    def estimate(self, request: VLMRequest, *, count: bool = False) -> Estimate:
        """See `VLM.estimate`."""
        return Estimate(self.count_tokens(request), 256, self._cost, self._cost)

    def stop(self) -> None:
        """Nothing to stop."""
