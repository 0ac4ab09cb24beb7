"""Requests, responses and errors as JSON, in the form of OpenAI's completions.

Requests are checked strictly. Beyond OpenAI's fields: `top_k`, `min_p`, `repetition_penalty` and `unknown`, as in
`nanogpt sample`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from starlette.responses import Response

from nanogpt.errors import nearest

LARGEST_SEED = 2**63 - 1
LONGEST_STOP = 256
ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


Whole = Annotated[int, BeforeValidator(lambda one: int(one) if isinstance(one, float) and one.is_integer() else one)]
"""A whole number, which JSON may also write as 3.0."""
# Lists are checked up to the first error: reporting a million errors would take seconds and block every other client.
TextList = Annotated[list[str], Field(fail_fast=True)]
TokenList = Annotated[list[Annotated[Whole, Field(ge=0)]], Field(fail_fast=True)]
TokenLists = Annotated[list[TokenList], Field(fail_fast=True)]
Stop = Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]
PROMPT = "a text, a list of texts, a list of token ids, or a list of such lists"


class StrictModel(BaseModel):
    """A model without unknown fields and type conversions."""

    model_config = ConfigDict(strict=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _one_unknown(cls, given: Any) -> Any:
        """Keep only the first unknown field, which is enough to refuse the request."""
        if not isinstance(given, dict):
            return given
        first = next((name for name in given if name not in cls.model_fields), None)
        return {name: value for name, value in given.items() if name in cls.model_fields or name == first}


class StreamOptions(StrictModel):
    """What a stream reports besides its text."""

    include_usage: bool | None = Field(None, description="true or false")
    include_obfuscation: Literal[False] | None = Field(None, description="false: nothing is added to hide lengths")


class CompletionRequest(StrictModel):
    """A request for continuations of one or several prompts."""

    model: str = Field(description="the name of a model; /v1/models lists them")
    prompt: str | TextList | TokenList | TokenLists | None = Field("", description=PROMPT)
    max_tokens: Whole | None = Field(16, ge=0, description="a whole number, 0 or more")
    temperature: float | None = Field(1.0, ge=0, le=2, description="a number from 0 to 2")
    top_p: float | None = Field(1.0, gt=0, le=1, description="a number above 0 and at most 1")
    n: Whole | None = Field(1, ge=1, description="a whole number, 1 or more")
    stream: bool | None = Field(False, description="true or false")
    stream_options: StreamOptions | None = Field(None, description='an object such as {"include_usage": true}')
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = Field(
        None, description=f"a text or up to 4 texts, each of 1 to {LONGEST_STOP} characters"
    )
    seed: Whole | None = Field(None, ge=0, le=LARGEST_SEED, description="a whole number from 0 to 2^63 - 1")
    logprobs: Whole | None = Field(None, ge=0, le=10, description="a whole number from 0 to 10")
    echo: bool | None = Field(False, description="true or false")
    best_of: Whole | None = Field(None, description="left out, or the same as n")
    suffix: str | None = Field(None, description="left out: texts are only continued")
    logit_bias: dict[str, Any] | None = Field(None, description="left out, or empty")
    frequency_penalty: float | None = Field(0.0, description="left out, or 0; use repetition_penalty")
    presence_penalty: float | None = Field(0.0, description="left out, or 0; use repetition_penalty")
    user: str | None = Field(None, description="a text; it has no effect")
    top_k: Whole | None = Field(None, ge=1, description="a whole number, 1 or more")
    min_p: float | None = Field(None, gt=0, le=1, description="a number above 0 and at most 1")
    repetition_penalty: float | None = Field(1.0, ge=0.01, le=100, description="a number from 0.01 to 100; 1 for none")
    unknown: Literal["error", "skip"] = Field("error", description="'error' or 'skip'")

    @field_validator("suffix", "logit_bias", "frequency_penalty", "presence_penalty")
    @classmethod
    def _asks_for_nothing(cls, value: Any) -> Any:
        if value:
            raise ValueError("not supported: leave it out")
        return value

    def check(self) -> None:
        """Check fields against each other. Raises ValueError, with the field's name first."""
        n = self.n or 1
        if self.best_of is not None and self.best_of != n:
            raise ValueError(f"best_of is {self.best_of} and n is {n}: other values than n are not supported")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs a stream: set stream to true, or leave it out")
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens is 0 without echo: set echo to true, or ask for tokens")


class TokenizeRequest(StrictModel):
    """A request for the tokens of a text."""

    model: str = Field(description="the name of a model; /v1/models lists them")
    prompt: str = Field(description="a text")
    unknown: Literal["error", "skip"] = Field("error", description="'error' or 'skip'")


def field_descriptions(kind: type[BaseModel]) -> dict[str, str]:
    """Return the fields of a request, and what each must be.

    >>> field_descriptions(TokenizeRequest)["prompt"]
    'a text'
    """
    return {name: str(field.description) for name, field in kind.model_fields.items()}


class Usage(BaseModel):
    """Tokens of the prompts and of the completions."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Logprobs(BaseModel):
    """Per token: its text, log-probability, the likeliest tokens at its position, and its offset in the text."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class Choice(BaseModel):
    """One completion of a prompt."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class Completion(BaseModel):
    """The response to a completion request."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    seed: int
    choices: list[Choice]
    usage: Usage | None = None


class Model(BaseModel):
    """A served model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    context: int
    vocabulary: int


class ModelList(BaseModel):
    """The served models."""

    object: Literal["list"]
    data: list[Model]


class Tokens(BaseModel):
    """The token ids of a text, and the text of each token."""

    model: str
    count: int
    tokens: list[int]
    texts: list[str]


class Health(BaseModel):
    """Whether the server accepts requests."""

    status: Literal["ok", "stopping"]


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(BaseModel):
    """The response to a failed request."""

    error: ErrorBody


class ApiError(Exception):
    """A failed request: HTTP status, a sentence, the parameter at fault, and a code for programs."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None, retry: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = {} if retry is None else {"retry-after": str(retry)}

    def body(self) -> dict[str, Any]:
        """Return the JSON of the response."""
        kind = ERROR_TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def to_json(value: Any) -> bytes:
    r"""Return JSON in UTF-8; a lone surrogate, which UTF-8 cannot encode, is written as an escape.

    >>> to_json({"text": "né"}), to_json("\ud83d")
    (b'{"text":"n\xc3\xa9"}', b'"\\ud83d"')
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


class JsonResponse(Response):
    """A response of JSON in UTF-8."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return to_json(content)


def from_validation(found: Sequence[Mapping[str, Any]], fields: Mapping[str, str]) -> ApiError:
    """Turn pydantic's errors of a body into one sentence; `fields` are the known ones and what each must be."""
    first = found[0]
    location = [str(one) for one in first["loc"] if one != "body"]
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is not JSON ({first.get('ctx', {}).get('error', 'it ends early')})")
    if first["type"] == "extra_forbidden" and len(location) == 1:
        name = location[0]
        return ApiError(400, f"unknown field {name!r}; {nearest(name, fields)}", name, "unknown_parameter")
    if not location or location[0] not in fields:
        return ApiError(400, "the body is not a JSON object: send one with Content-Type: application/json")
    name = location[0]
    if first["type"] == "missing":
        return ApiError(400, f"{name!r} is missing: give {fields[name]}", name, "missing_parameter")
    # pydantic's own words are Python's, and a field of several types has one error for each.
    return ApiError(400, f"{name!r} is invalid: it must be {fields[name]}", name, "invalid_value")
