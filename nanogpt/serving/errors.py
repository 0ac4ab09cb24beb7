"""What goes wrong, in the form in which OpenAI's interface says it: `{"error": {message, type, param, code}}`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nanogpt.errors import nearest

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An answer that is an error: its status, a sentence, the parameter that it is about, and a code for programs."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None, retry: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = {} if retry is None else {"retry-after": str(retry)}

    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def to_json(value: Any) -> bytes:
    """JSON in UTF-8; half of a surrogate pair, which UTF-8 has not, is written as an escape.

    >>> to_json({"text": "né"}), to_json("\\ud83d")
    (b'{"text":"n\\xc3\\xa9"}', b'"\\\\ud83d"')
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def from_validation(found: Sequence[Mapping[str, Any]], fields: Mapping[str, str]) -> ApiError:
    """One sentence about what pydantic found wrong with a body; `fields` are the known ones and what each must be."""
    first = found[0]
    place = [str(one) for one in first["loc"] if one != "body"]
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is not JSON ({first.get('ctx', {}).get('error', 'it ends early')})")
    if first["type"] == "extra_forbidden" and len(place) == 1:
        return ApiError(400, f"unknown field {place[0]!r}; {nearest(place[0], fields)}", place[0], "unknown_parameter")
    if not place or place[0] not in fields:
        return ApiError(400, "the body is not an object of JSON: send one, with Content-Type: application/json")
    if first["type"] == "missing":
        return ApiError(400, f"{place[0]!r} is missing: {fields[place[0]]}", place[0], "missing_parameter")
    # A field of several kinds has an error for each kind that it is not: what it must be says more.
    told = str(first["msg"]).removeprefix("Value error, ")
    alike = {tuple(one["loc"]) for one in found if place[0] in one["loc"]}
    if len(alike) > 1 or len(place) > 1:
        told = f"it must be {fields[place[0]]}"
    return ApiError(400, f"{place[0]!r} is not as it should be: {told}", place[0], "invalid_value")
