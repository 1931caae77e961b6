"""From a call of the page to a method of the library: validated going in, typed errors as short messages coming out.

Knows how the page and the server talk; does not know what the methods do.
"""

import inspect
import logging
from collections.abc import Callable
from typing import Any

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlm2vla.errors import StaleRevisionError, VLM2VLAError

log = logging.getLogger(__name__)
MAX_TEXT = 200


class Call(BaseModel):
    """What every call carries.

    Attributes:
        reviewer: Who asks; the name of the login when the studio has a password, else the name typed in the page.
        user: The name of the login, "" without a password; whatever a page sends here is overwritten.
    """

    model_config = ConfigDict(extra="forbid")
    reviewer: str = Field("reviewer", min_length=1, max_length=60)
    user: str = ""


def handler(function: Callable[[Any], Any]) -> Callable[[Any, gr.Request], dict[str, Any]]:
    """Make a server function of `function`, whose one argument is a subclass of Call.

    The answer is {"ok": value}, {"error": message} or, for a save that came too late, {"conflict": {"head": number}};
    details of unexpected errors go to the log only.
    """
    (argument,) = inspect.signature(function).parameters.values()

    def serve(data: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        try:
            call = argument.annotation.model_validate(data)
            user = getattr(request.state, "user", "")
            return {"ok": function(call.model_copy(update={"user": user, "reviewer": user or call.reviewer}))}
        except ValidationError as error:
            log.warning("%s: %s", function.__name__, error)
            return {"error": "The page sent something that the studio does not understand; reload it."}
        except StaleRevisionError as error:
            log.info("%s", error)
            return {"conflict": {"head": error.head}}
        except VLM2VLAError as error:
            log.info("%s: %s", function.__name__, error)
            return {"error": str(error)[: MAX_TEXT * 2]}
        except Exception:
            log.exception("%s failed", function.__name__)
            return {"error": "Something went wrong; logs/studio.log in the workspace says what."}

    serve.__name__ = function.__name__
    return serve
