"""What a server allows, and whom. Light to import."""

import ipaddress
from dataclasses import dataclass

from nanogpt.config import check_not_negative, check_positive, check_types
from nanogpt.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a request may ask for, and how many may ask at once."""

    max_tokens: int = 4096
    """most tokens of one text"""
    prompt_tokens: int = 16_384
    """most tokens of one prompt; the model reads the newest of them"""
    prompts: int = 64
    """most prompts in one request"""
    queue: int = 128
    """texts that wait for a place in the batch; beyond them a request is refused with 429"""
    body_bytes: int = 1 << 20
    """largest body of a request"""
    body_seconds: float = 10.0
    """in which a body must have come"""

    def __post_init__(self) -> None:
        check_types(self)
        check_positive(self, "max_tokens", "prompt_tokens", "prompts", "body_bytes", "body_seconds")
        check_not_negative(self, "queue")


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask. Beyond this machine only whoever knows the token."""

    host: str = "127.0.0.1"
    """the address that is listened on"""
    token: str | None = None
    """what a client must show as `Authorization: Bearer TOKEN`"""
    hosts: tuple[str, ...] = ()
    """further names that this server is called by, such as that of a proxy"""
    origins: tuple[str, ...] = ()
    """pages of other servers that may call this one (CORS), such as https://example.org"""

    def __post_init__(self) -> None:
        check_types(self)
        if self.token is not None and (not self.token or not self.token.isascii() or not self.token.isprintable()):
            raise UserError(
                "the token is empty, or has characters that a header cannot hold: choose letters and digits"
            )
        if self.token is None and not self.is_local:
            raise UserError(
                f"{self.host!r} can be reached by others: name a token that they must know (--token, or the variable "
                f"NANOGPT_TOKEN), or leave --host out"
            )
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2 or "*" in origin:
                raise UserError(f"the origin {origin!r} is not of the form https://example.org: name one page's server")

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine can reach it."""
        return is_loopback(self.host)

    def answers_to(self, name: str) -> bool:
        """Whether a Host header names this server.

        A page of another server whose name was made to lead here (DNS rebinding) sends its own name. An address is no
        name, so that it cannot be made to lead elsewhere.

        >>> local = Access()
        >>> [local.answers_to(name) for name in ("localhost", "127.0.0.1", "::1", "evil.example", "10.0.0.7")]
        [True, True, True, False, False]
        """
        if is_loopback(name) or name in (self.host.lower(), *(host.lower() for host in self.hosts)):
            return True
        return not self.is_local and _address(name) is not None


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, False, False)
    """
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
