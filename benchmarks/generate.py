"""Generated tokens a second by context length, number of streams and precision, beside nanoGPT's `generate`.

    python -m benchmarks.generate --nanogpt PATH --pairs 5
    python -m benchmarks.generate --nanogpt PATH --pairs 1 --tokens 60 --long-tokens 0 --trial

The network is that of nanoGPT's GPU recipe (6 layers, 384 channels, block 256, characters; 10.65M parameters) with
random weights on both sides: what a token costs does not depend on them. Both begin with one token and draw at
temperature 0.8; nanoGPT keeps no cache and reads up to 256 tokens anew for each. All of our streams are held against
its one. Each measurement is a fresh process; loading the model and eight tokens to warm up are no part of it, giving
the weights another precision is. What a precision costs in loss is not seen with random weights: `nanogpt eval
--precision` tells it for a trained run.

The floor of a step is the time that reading the linear layers' weights once would take, at the rate at which the same
machine was seen to read memory between the pairs. Weights that stay in a large cache may be read faster than that.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.pairs import one_pair, ratios, told, values
from benchmarks.processes import ROOT, clean_environment, run
from benchmarks.record import Parts
from benchmarks.side_by_side import add_common

SIZES = {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "vocab_size": 65}
PRECISIONS = ("float32", "bfloat16", "int8")
STREAMS = (1, 4, 16, 64)
STRETCHES = ((1, 128), (128, 256), (256, 1000))
"""Tokens whose rate is given by itself: the context is short, grows to the block, and was full once."""
EARLY, LATE = (300, 1300), (9000, 10000)
"""Tokens whose mean costs are compared."""
OURS = ("-m", "benchmarks.generation_run")
SCRIPT = ROOT / "benchmarks" / "peers" / "generate_script.py"


def main() -> None:
    """Measure what is missing, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--streams", type=int, nargs="+", default=list(STREAMS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--tokens", type=int, default=1000, help="of each stream")
    parser.add_argument("--long-tokens", type=int, default=LATE[1], help="of the text whose ends are compared; 0: none")
    add_common(parser)
    options = parser.parse_args()
    if options.device != "cpu":
        parser.error("this compares CPUs: leave --device out")
    parts = Parts("generate", keep=options.keep, trial=options.trial)
    rows = [beside_nanogpt(parts, *one, options) for one in product(options.precisions, options.streams)]
    result: dict[str, Any] = {"sizes": SIZES, "tokens": options.tokens, "rows": rows}
    if options.long_tokens:
        result["long"] = [long_text(parts, precision, options) for precision in options.precisions]
    parts.write(result)


def beside_nanogpt(parts: Parts, precision: str, streams: int, options: argparse.Namespace) -> dict[str, Any]:
    """Some streams of ours in a precision, beside one of nanoGPT's."""
    given = {"sizes": SIZES, "streams": streams, "tokens": options.tokens, "precision": precision}
    pairs = [
        parts.measure(
            given | {"threads": options.threads, "pair": number}, partial(measure_pair, given, number, options)
        )
        for number in range(options.pairs)
    ]
    found = given | summary(pairs, streams, options.tokens)
    print(f"{precision}, {streams} streams: tokens/s {told(found['ours'], 0)}")
    print(f"    nanoGPT, one stream {told(found['theirs'], 0)}")
    print(f"    ours / theirs {told(found['ratios'], 1)}")
    print(f"    floor / ours {told(found['share_of_floor'], 2)}", flush=True)
    return found


def measure_pair(given: dict[str, Any], number: int, options: argparse.Namespace) -> dict[str, Any]:
    """One pair, and the rate of memory after it."""
    theirs_words = [str(SCRIPT), json.dumps(SIZES), "1", str(given["tokens"])]
    ours, theirs = one_pair(
        number,
        lambda: in_process([*OURS, json.dumps(given)], ROOT, options.threads),
        lambda: in_process(theirs_words, options.nanogpt, options.threads),
    )
    memory = in_process([*OURS, "--memory"], ROOT, options.threads)
    return {
        "seconds": sum(ours["steps"]),
        "their_seconds": theirs["seconds"],
        "stretches": [mean(ours["steps"], *stretch) for stretch in STRETCHES],
        "floor_seconds": ours["read_bytes"] / memory["bytes_per_second"] * given["tokens"],
        "read_bytes": ours["read_bytes"],
        "memory_bytes_per_second": memory["bytes_per_second"],
    }


def summary(pairs: Sequence[dict[str, Any]], streams: int, tokens: int) -> dict[str, Any]:
    """Rates in tokens a second of both sides, their ratio, and the share of the floor's rate that is reached."""
    ours = [streams * tokens / pair["seconds"] for pair in pairs]
    theirs = [tokens / pair["their_seconds"] for pair in pairs]
    stretches = [
        {"from": first, "to": last, **values([streams / seconds for seconds in each])}
        for (first, last), each in zip(STRETCHES, zip(*(pair["stretches"] for pair in pairs)))
        if None not in each
    ]
    return {
        "ours": values(ours),
        "theirs": values(theirs),
        "ratios": ratios(ours, theirs),
        "share_of_floor": ratios([pair["floor_seconds"] for pair in pairs], [pair["seconds"] for pair in pairs]),
        "stretches": stretches,
        "read_bytes": pairs[0]["read_bytes"],
        "memory_bytes_per_second": values([pair["memory_bytes_per_second"] for pair in pairs]),
    }


def long_text(parts: Parts, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a token costs late in a long text over what it costs early, one stream."""
    given = {"sizes": SIZES, "streams": 1, "tokens": options.long_tokens, "precision": precision}

    def measure() -> dict[str, Any]:
        steps = in_process([*OURS, json.dumps(given)], ROOT, options.threads)["steps"]
        return {"early": mean(steps, *EARLY), "late": mean(steps, *LATE)}

    key = given | {"threads": options.threads}
    texts = [parts.measure(key | {"text": number}, measure) for number in range(options.pairs)]
    if any(text[when] is None for text in texts for when in ("early", "late")):
        raise SystemExit(f"--long-tokens is {options.long_tokens}: at least {LATE[1]} are compared, or 0 for none")
    found = {"precision": precision} | ratios([text["late"] for text in texts], [text["early"] for text in texts])
    print(f"{precision}: cost of tokens {LATE} over {EARLY}: {told(found)}", flush=True)
    return found


def mean(steps: Sequence[float], first: int, last: int) -> float | None:
    """The mean of some steps; None where there are not so many.

    >>> mean([1.0, 2.0, 6.0], 1, 3), mean([1.0], 1, 3)
    (4.0, None)
    """
    return statistics.fmean(steps[first:last]) if len(steps) >= last else None


def in_process(words: Sequence[str], imported: Path, threads: int | None) -> Any:
    """The JSON that a fresh process of Python prints last, with `imported` on its path."""
    environment = clean_environment(threads, PYTHONPATH=str(imported.resolve()), PYTHONDONTWRITEBYTECODE="1")
    return json.loads(run([sys.executable, *words], ROOT, environment).lines[-1].text)


if __name__ == "__main__":
    main()
