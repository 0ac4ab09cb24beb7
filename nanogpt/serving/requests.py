"""What can be asked, field by field, with OpenAI's names; checked strictly, and refused by name where it is not done.

Accepted and without effect: `user`, which has no bearing on the text. Accepted where they ask for nothing: `suffix`,
`logit_bias`, `frequency_penalty`, `presence_penalty`, `best_of`. Beyond OpenAI's: `top_k`, `min_p`,
`repetition_penalty` and `unknown`, as in `nanogpt sample`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

LARGEST_SEED = 2**63 - 1
LONGEST_STOP = 256


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number, which JSON may also write as 3.0."""
# Lists are looked at up to the first that is wrong: to tell of each of a million takes seconds, and nobody is answered.
TextList = Annotated[list[str], Field(fail_fast=True)]
TokenList = Annotated[list[Annotated[Whole, Field(ge=0)]], Field(fail_fast=True)]
TokenLists = Annotated[list[TokenList], Field(fail_fast=True)]
Stop = Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]
PROMPT = "a text, a list of texts, a list of token ids, or a list of such lists"


class Strict(BaseModel):
    """No field that is not known, and no value of another kind."""

    model_config = ConfigDict(strict=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _one_unknown(cls, given: Any) -> Any:
        """Of fields that are not known the first is enough to refuse them all."""
        if not isinstance(given, dict):
            return given
        unknown = {name for name in given if name not in cls.model_fields}
        kept = next((name for name in given if name in unknown), None)
        return {name: value for name, value in given.items() if name not in unknown or name == kept}


class StreamOptions(Strict):
    """What a stream tells beside its text."""

    include_usage: bool | None = Field(None, description="true or false")
    include_obfuscation: bool | None = Field(None, description="false: nothing is added to hide lengths")

    @field_validator("include_obfuscation")
    @classmethod
    def _is_off(cls, value: bool | None) -> bool | None:
        if value:
            raise ValueError("include_obfuscation is not offered: leave it out")
        return value


class CompletionRequest(Strict):
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
    suffix: str | None = Field(None, description="left out: a text is continued, not filled in")
    logit_bias: dict[str, Any] | None = Field(None, description="left out, or empty")
    frequency_penalty: float | None = Field(0.0, description="left out, or 0; repetition_penalty is offered")
    presence_penalty: float | None = Field(0.0, description="left out, or 0; repetition_penalty is offered")
    user: str | None = Field(None, description="a text; it has no effect")
    top_k: Whole | None = Field(None, ge=1, description="a whole number, 1 or more")
    min_p: float | None = Field(None, gt=0, le=1, description="a number above 0 and at most 1")
    repetition_penalty: float | None = Field(1.0, ge=0.01, le=100, description="a number from 0.01 to 100; 1 for none")
    unknown: Literal["error", "skip"] = Field("error", description="'error' or 'skip'")

    @field_validator("suffix", "logit_bias", "frequency_penalty", "presence_penalty")
    @classmethod
    def _asks_for_nothing(cls, value: Any) -> Any:
        if value:
            raise ValueError("this is not offered: leave it out")
        return value

    def check(self) -> None:
        """What fields say together. Raises ValueError, with the field's name first."""
        n = self.n or 1
        if self.best_of is not None and self.best_of != n:
            raise ValueError(f"best_of is {self.best_of} and n is {n}: choosing among more texts is not offered")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is for streams: set stream to true, or leave it out")
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens is 0 and echo is not set: there would be nothing to answer")


class TokenizeRequest(Strict):
    """A request for the tokens of a text."""

    model: str = Field(description="the name of a model; /v1/models lists them")
    prompt: str = Field(description="a text")
    unknown: Literal["error", "skip"] = Field("error", description="'error' or 'skip'")


def described(kind: type[BaseModel]) -> dict[str, str]:
    """The fields of a request, and what each must be.

    >>> described(TokenizeRequest)["prompt"]
    'a text'
    """
    return {name: str(field.description) for name, field in kind.model_fields.items()}
