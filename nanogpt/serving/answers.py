"""The form of what is answered, for the description of the interface at /openapi.json."""

from typing import Literal

from pydantic import BaseModel


class Usage(BaseModel):
    """Tokens read and made."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Logprobs(BaseModel):
    """Of each token: its text, its log-probability, the likeliest in its place, and where it begins in the text."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class Choice(BaseModel):
    """One text."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class Completion(BaseModel):
    """Texts that continue prompts."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    seed: int
    choices: list[Choice]
    usage: Usage | None = None


class Model(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    context: int
    vocabulary: int


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"]
    data: list[Model]


class Tokens(BaseModel):
    """A text as tokens: ids, and the text of each."""

    model: str
    count: int
    tokens: list[int]
    texts: list[str]


class Health(BaseModel):
    """Whether requests are taken."""

    status: Literal["ok", "stopping"]


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(BaseModel):
    """The answer where something went wrong."""

    error: ErrorBody
