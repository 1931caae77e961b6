"""Human review of annotations: what the Annotate tab shows and does, without any Gradio.

`Review` is the one door: it composes the episode index, the annotation store, the annotators and the checks, and speaks
plain JSON values, so that a page, a notebook or a test can use it alike.
"""

from vlm2vla.review.changes import changes
from vlm2vla.review.service import Review

__all__ = ["Review", "changes"]
