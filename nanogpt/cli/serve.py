"""`nanogpt serve`: a run answers over HTTP, in the form of OpenAI's completions."""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nanogpt.cli.arguments import OptionalInt, OptionalText, optional, parse
from nanogpt.cli.opening import open_run
from nanogpt.config import check_positive
from nanogpt.errors import UserError

if TYPE_CHECKING:
    from nanogpt.runs.run import Run
    from nanogpt.serving.engine import Engine
    from nanogpt.serving.settings import Limits

LAST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve a run over HTTP, in the form of OpenAI's completions.

    Its client, and whatever speaks its language, works with the address that is printed. Requests that come at the same
    time are generated together, each as it would be alone. Without --host nobody but this machine can ask.

    examples:
      nanogpt serve runs/book-modern-1
      nanogpt serve --host 0.0.0.0 --token "$(openssl rand -hex 16)"
    """

    run: Annotated[tyro.conf.Positional[OptionalText], optional("[RUN]")] = None
    """run folder; the newest below runs/ if left out, the starter model where there is none"""
    host: str = "127.0.0.1"
    """the address to listen on; another one than this machine's own asks for a token"""
    port: int = 8000
    """the port to listen on; 0 for any that is free"""
    token: Annotated[OptionalText, optional("TEXT")] = None
    """what clients must know (their API key); the variable NANOGPT_TOKEN if left out"""
    allow_host: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """further names that the server is called by, such as a proxy's"""
    allow_origin: Annotated[tuple[str, ...], tyro.conf.arg(metavar="URL ...")] = ()
    """web pages elsewhere that may call it (CORS), such as https://example.org"""
    rows: Annotated[OptionalInt, optional("INT")] = None
    """texts that are generated at once; 64 if left out, or as many as 1 GiB of keys and values holds"""
    queue: int = 128
    """texts that wait for a place; beyond them requests are refused with 429"""
    max_tokens: int = 4096
    """most tokens of a text"""
    max_prompt: int = 16384
    """most tokens of a request's prompts"""
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    """number format of the weights; on a CPU int8 is faster for a text or a few, bfloat16 for many. With float32 a text
    is what it is alone, whoever else is there"""
    checkpoint: Annotated[str, tyro.conf.arg(metavar="best|last|STEP")] = "best"
    """which of the run's checkpoints, or a step of its history"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """where to run"""
    threads: Annotated[OptionalInt, optional("INT")] = None
    """CPU threads; as many as torch takes if left out"""


def main(argv: Sequence[str]) -> None:
    """Parse and serve, until SIGTERM or Ctrl-C."""
    options = parse(Serve, "serve", argv)
    try:
        from nanogpt.serving.app import make_app
        from nanogpt.serving.server import address_of, listen, serve
    except ImportError as error:
        raise UserError(f"serving needs {error.name}: pip install 'nanogpt[studio]'") from None
    from nanogpt.serving.settings import Access, Limits

    token = options.token if options.token is not None else os.environ.get("NANOGPT_TOKEN") or None
    access = Access(host=options.host, token=token, hosts=options.allow_host, origins=options.allow_origin)
    limits = Limits(max_tokens=options.max_tokens, prompt_tokens=options.max_prompt, queue=options.queue)
    check_positive(options, "rows", "threads")
    if not 0 <= options.port <= LAST_PORT:
        raise UserError(f"port is {options.port}; choose one from 0 (any that is free) to {LAST_PORT}")
    with listen(options.host, options.port) as listening:  # before the model is read: it fails at once
        if options.threads is not None:
            set_threads(options.threads)
        run = open_run(options.run, checkpoint=options.checkpoint, device=options.device)
        engine = make_engine(run, options, limits)
        name, address = run.path.resolve().name, address_of(listening)
        app = make_app({name: engine}, access, limits)
        serve(app, [engine], listening, lambda: print(told(run, engine, name, address, token), flush=True))


def set_threads(count: int) -> None:
    """CPU threads of torch, in every thread that begins to compute from now on."""
    import torch

    torch.set_num_threads(count)


def make_engine(run: "Run", options: Serve, limits: "Limits") -> "Engine":
    """What generates for the requests."""
    from nanogpt.serving.engine import Engine

    about = f"{run.path.resolve().name}-step-{run.step}-{options.precision}"
    return Engine(run.model, run.tokenizer, rows=options.rows, limits=limits, precision=options.precision, about=about)


def told(run: "Run", engine: "Engine", name: str, address: str, token: str | None) -> str:
    """What is printed when the server is ready: where it is, what it takes, and a first request."""
    from nanogpt.sampling.room import cache_bytes

    body = json.dumps({"model": name, "prompt": "", "max_tokens": 200, "temperature": 0.8}, ensure_ascii=False)
    key = "" if token is None else ' -H "Authorization: Bearer $NANOGPT_TOKEN"'
    megabytes = cache_bytes(engine.config, engine.room) / 1e6
    return (
        f"{run.name}, step {run.step:,}, at {address} (Ctrl-C ends it)\n"
        f"up to {engine.room} texts at once, their keys and values {megabytes:,.1f} MB\n"
        f"try:\n"
        f"  curl {address}/v1/completions -H 'Content-Type: application/json'{key} -d {shlex.quote(body)}"
    )
