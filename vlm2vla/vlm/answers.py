"""The text of an answer as the schema it was asked for. The same for every adapter."""

from pydantic import BaseModel, ValidationError

from vlm2vla.errors import ModelSchemaError
from vlm2vla.vlm.protocol import Usage, VLMRequest


def parse_answer(text: str, request: VLMRequest, usage: Usage) -> BaseModel | None:
    """The text as the request's schema (a code fence around it is forgiven), None without a schema.

    Raises:
        ModelSchemaError: It does not fit.
    """
    if request.schema is None:
        return None
    body = text.strip()
    if body.startswith("```"):
        body = body.split("\n", 1)[-1].rsplit("```", 1)[0]
    try:
        return request.schema.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(key) for key in first["loc"]) or "the answer"
        raise ModelSchemaError(
            f"the answer does not fit {request.schema.__name__}: {where}: {first['msg']}",
            details={"answer": text[:2000], "usage": vars(usage)},
        ) from error
