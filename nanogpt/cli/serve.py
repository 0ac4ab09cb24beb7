"""Serve a run over HTTP, in the form of OpenAI's completions API.

OpenAI's client, and other programs for this API, work with the address that is printed. Requests that arrive at the
same time are generated in one batch, each as it would be alone. Without --host only this machine can connect.

Examples:
  nanogpt serve runs/book-modern-1
  nanogpt serve --host 0.0.0.0 --token "$(openssl rand -hex 16)"
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from nanogpt.cli.arguments import RunOptions, ServerOptions, option, parser_of
from nanogpt.config import POSITIVE, check_range
from nanogpt.errors import UserError, counted

if TYPE_CHECKING:
    from nanogpt.runs.run import Run
    from nanogpt.serving.engine import Engine


@dataclass(frozen=True, kw_only=True)
class Serve(ServerOptions, RunOptions):
    """Options of `nanogpt serve`."""

    allow_host: tuple[str, ...] = option("NAME", ())
    """further host names of the server, such as a proxy's"""
    allow_origin: tuple[str, ...] = option("URL", ())
    """websites that may call it (CORS), such as https://example.org"""
    rows: int | None = None
    """texts to generate at once (default: 64, or as many as 1 GiB of keys and values holds)"""
    queue: int = 128
    """texts that may wait; further requests are refused with 429"""
    max_tokens: int = 4096
    """most tokens of a text"""
    max_prompt: int = 16384
    """most tokens of a request's prompts"""
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    """number format of the weights; on a CPU int8 is faster for a few texts, bfloat16 for many; only with float32 a
    text does not depend on the others in its batch"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """device to run on"""
    threads: int | None = None
    """CPU threads (default: chosen by torch)"""


parser = partial(parser_of, Serve, "serve", __doc__)


def main(argv: Sequence[str]) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    options = Serve(**parser().read(argv))
    try:
        from nanogpt.serving.app import make_app
        from nanogpt.serving.server import address_of, listen, serve
    except ImportError as error:
        raise UserError(f"serving needs {error.name}; pip install 'nanogpt[studio]'") from None
    import torch

    from nanogpt.serving.engine import Engine
    from nanogpt.serving.settings import Limits

    access = options.access(options.allow_host, options.allow_origin)
    limits = Limits(max_tokens=options.max_tokens, prompt_tokens=options.max_prompt, queue=options.queue)
    check_range(options, POSITIVE, "rows", "threads")
    with listen(options.host, options.port) as listening:  # before the model is loaded: it fails at once
        if options.threads is not None:
            torch.set_num_threads(options.threads)  # also of threads that begin later
        run = options.open(options.device)
        name, address, precision = run.path.resolve().name, address_of(listening), options.precision
        about = f"{name}-step-{run.step}-{precision}"
        engine = Engine(run.model, run.tokenizer, rows=options.rows, limits=limits, precision=precision, about=about)
        app = make_app({name: engine}, access, limits)
        serve(app, [engine], listening, lambda: print(greeting(run, engine, name, address, access.token), flush=True))


def greeting(run: "Run", engine: "Engine", name: str, address: str, token: str | None) -> str:
    """Return what to print when the server is ready: its address, its limits, and a first request."""
    body = json.dumps({"model": name, "prompt": "", "max_tokens": 200, "temperature": 0.8}, ensure_ascii=False)
    key = "" if token is None else ' -H "Authorization: Bearer $NANOGPT_TOKEN"'
    megabytes = engine.cache_bytes / 1e6
    return (
        f"{run.name}, step {run.step:,}, at {address} (stop with Ctrl-C)\n"
        f"up to {counted(engine.rows, 'text')} at once, their keys and values {megabytes:,.1f} MB\n"
        f"try:\n"
        f"  curl {address}/v1/completions -H 'Content-Type: application/json'{key} -d {shlex.quote(body)}"
    )
