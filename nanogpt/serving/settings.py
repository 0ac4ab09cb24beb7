"""The limits of a server, and who has access. Light to import."""

import ipaddress
from dataclasses import dataclass

from nanogpt.config import NOT_NEGATIVE, POSITIVE, check_range, check_types
from nanogpt.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one request, and of all requests together."""

    max_tokens: int = 4096
    """most tokens of one text"""
    prompt_tokens: int = 16_384
    """most tokens of a request's prompts; the model reads the newest"""
    prompts: int = 64
    """most prompts in one request"""
    queue: int = 128
    """texts that may wait; further requests are refused with 429"""
    body_bytes: int = 1 << 20
    """largest body of a request"""
    body_seconds: float = 10.0
    """time in which a body has to arrive"""

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, POSITIVE, "max_tokens", "prompt_tokens", "prompts", "body_bytes", "body_seconds")
        check_range(self, NOT_NEGATIVE, "queue")


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who has access. From other machines, only clients that know the token."""

    host: str = "127.0.0.1"
    """the address to listen on"""
    token: str | None = None
    """what a client has to send as `Authorization: Bearer TOKEN`"""
    hosts: tuple[str, ...] = ()
    """further host names of this server, such as a proxy's"""
    origins: tuple[str, ...] = ()
    """websites that may call this server (CORS), such as https://example.org"""

    def __post_init__(self) -> None:
        check_types(self)
        if self.token is not None and (not self.token or not self.token.isascii() or not self.token.isprintable()):
            raise UserError("the token is empty, or not allowed in a header: choose letters and digits")
        if self.token is None and not self.is_local:
            raise UserError(
                f"--host {self.host!r} can be reached from other machines: set a token by --token or the variable "
                f"NANOGPT_TOKEN, or leave --host out"
            )
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2 or "*" in origin:
                raise UserError(f"the origin {origin!r} is not of the form https://example.org: give one website")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    def answers_to(self, name: str) -> bool:
        """Return whether a Host header names this server.

        In DNS rebinding, a website makes its own host name lead to this machine, and its pages send that name. An IP
        address cannot be redirected.

        >>> local = Access()
        >>> [local.answers_to(name) for name in ("localhost", "127.0.0.1", "::1", "evil.example", "10.0.0.7")]
        [True, True, True, False, False]
        """
        if is_loopback(name) or name in (self.host.lower(), *(host.lower() for host in self.hosts)):
            return True
        return not self.is_local and _address(name) is not None


def is_loopback(host: str) -> bool:
    """Return whether a name or an address is this machine's own.

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
