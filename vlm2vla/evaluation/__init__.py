"""What was kept and what was gained: VQA retention, action error, closed-loop success, verifiers, and the report.

Answers and rollouts are stored first and graded afterwards, so a better scorer never asks a model again. Knows models
only as `ChatModel`; knows no simulator and no policy (the pipeline and the rollout unit bring those in).
"""

from vlm2vla.evaluation.items import Item, VqaSet
from vlm2vla.evaluation.sets import load_set

__all__ = ["Item", "VqaSet", "load_set"]
