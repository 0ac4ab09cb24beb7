"""The page put together from its parts. What comes from elsewhere goes in as data, and cannot break out.

A browser ends a script at the letters `</script`, wherever they stand, and reads `<!--` in one as more than it says. So
data is JSON in which `<`, `>` and `&` are escapes; scripts and style are ours, and are checked for both. The policy in
the page names the hashes of exactly these scripts and this style: nothing else runs in it, and nothing is loaded.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from typing import Any

SCRIPTS = ("weights", "math", "model", "tokenizer", "streams", "generate", "look", "show", "text", "panel", "page")
"""In this order: each uses only what stands before it, but for functions that are called later."""
_SLOT = re.compile(r"\{\{(\w+)\}\}")
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def fill_template(model: Mapping[str, Any], weights: bytes) -> bytes:
    """The page's bytes: `model` as its data (anything JSON can hold), `weights` as base64."""
    script = "\n".join(part(f"{name}.js") for name in SCRIPTS)
    style = part("page.css")
    slots = {
        "policy": policy(script, style),
        "style": style,
        "script": script,
        "model": embed(model),
        "weights": base64.b64encode(weights).decode("ascii"),
    }
    # In one pass: what is put in is not searched for slots again.
    return _SLOT.sub(partial(_fill, slots), part("page.html")).encode()


def part(name: str) -> str:
    """One of the files in `page/`."""
    return (files("nanogpt.interop.html") / "page" / name).read_text(encoding="utf-8")


def embed(data: Any) -> str:
    """JSON that may stand inside a script element, whatever its strings say.

    >>> embed({"text": "</script><!--"})
    '{"text":"\\\\u003c/script\\\\u003e\\\\u003c!--"}'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def policy(script: str, style: str) -> str:
    """A Content-Security-Policy by which nothing runs but this script and this style, and nothing is loaded.

    >>> policy("", "").split("; ")[0]
    "default-src 'none'"
    """
    sources = []
    for name, code in (("script", script), ("style", style)):
        assert not re.search(f"</{name}|<!--", code, re.IGNORECASE), f"the {name} would end before its end"
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode("ascii")
        sources.append(f"{name}-src 'sha256-{digest}'")
    return "; ".join(["default-src 'none'", *sources, "base-uri 'none'", "form-action 'none'"])


def _fill(slots: Mapping[str, str], found: re.Match[str]) -> str:
    return slots[found[1]]
