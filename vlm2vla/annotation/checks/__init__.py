"""Is an annotation well formed and true to the numbers? Pure functions; nothing is changed, no image is looked at.

check               all findings of one annotated episode, each with a sentence a person understands
displacement_error  how far the action text of each subtask is off the recorded motion
risk                0 (nothing to see) to 1, to order the review queue
"""

from vlm2vla.annotation.checks.findings import Finding, Severity, SpanError
from vlm2vla.annotation.checks.run import check, displacement_error, risk

__all__ = ["Finding", "Severity", "SpanError", "check", "displacement_error", "risk"]
