"""Models in this process, with transformers and peft: one copy of each base's weights for all adapters on it.

Importing loads nothing heavy; the first model that is asked for loads torch.
"""

from vlm2vla.vlm.local.models import LocalModels
from vlm2vla.vlm.local.session import Session

__all__ = ["LocalModels", "Session"]
