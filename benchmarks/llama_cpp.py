"""Whether llama.cpp writes the same 200 tokens as `nanogpt sample`, and how close its logits are.

    python -m benchmarks.llama_cpp

Small models are trained, one for each kind of tokenizer, one on a text that is not ASCII (`quijote.txt` in the folder
NANOGPT_DATA), and one with GPT-2's block. Each is exported to GGUF in three precisions. llama.cpp and the library then
continue the validation text by the likeliest token with the same weights. Where two logits are closer than the rounding
of the two programs, their texts may diverge. Needs the extras `gguf` and `llama`.
"""

import os
import tempfile
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

import nanogpt
from benchmarks.record import new_parser, parse
from nanogpt.interop.gguf.export import export_gguf
from nanogpt.interop.gguf.llama import LlamaCpp
from nanogpt.interop.gguf.reading import read_gguf
from nanogpt.interop.gguf.tensors import TOLERANCE, Precision, llama_architecture
from nanogpt.interop.verify.compare import Cached, allowed_difference
from nanogpt.runs.run import Run

SIZES = {"n_layer": 3, "n_head": 3, "n_embd": 96, "block_size": 256, "batch_size": 4, "dropout": 0.0}
EVALUATION = {"eval_tokens": 8192, "final_eval_tokens": 8192}
MODELS: dict[str, dict[str, Any]] = {
    "char": {"text": "shakespeare"},
    "byte": {"text": "shakespeare", "tokenizer": "byte"},
    "bpe": {"text": "shakespeare", "tokenizer": "bpe", "vocab_size": 1024},
    "char, not ASCII": {"text": "quijote"},
    "char, GPT-2's block": {"text": "shakespeare", "preset": "gpt2"},
}
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
TOKENS, PROMPT_TOKENS, WINDOWS = 200, 40, 4
TIE = 1e-4
"""Two tokens whose logits are closer than this may be swapped."""


def main() -> None:
    """Measure what is missing, print and record."""
    parser = new_parser(__doc__, steps=300)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options, parts = parse(parser, "llama_cpp")
    versions = {name: version(name) for name in ("llama-cpp-python", "gguf")}
    torch.set_num_threads(options.threads)
    rows = []
    for name, settings in MODELS.items():
        key = {"model": name, "steps": options.steps, "threads": options.threads, **versions, **SIZES, **settings}
        row = parts.measure(key, partial(measure, settings, options.steps, options.threads))
        rows.append({"model": name, "exports": row["exports"]})
    parts.write({"tokens": TOKENS, "tie": TIE, "packages": versions, "rows": rows})


def measure(settings: dict[str, Any], steps: int, threads: int) -> dict[str, Any]:
    """Train one model, export it, and compare llama.cpp with the library."""
    settings = {"precision": "float32", "sample_tokens": 0, **EVALUATION, **SIZES, **settings}
    name = settings.pop("text")
    text = name if name == "shakespeare" else Path(os.environ.get("NANOGPT_DATA", "")) / f"{name}.txt"
    with tempfile.TemporaryDirectory(prefix="llama-cpp-") as folder:
        out = Path(folder) / "run"
        run = nanogpt.train(text, steps=steps, out=out, threads=threads, progress=False, **settings)
        ids = torch.from_numpy(run.data().val[: WINDOWS * SIZES["block_size"]].astype("int64"))
        return {"exports": [compare(run, ids, precision, Path(folder), threads) for precision in PRECISIONS]}


def compare(run: Run, ids: Tensor, precision: Precision, folder: Path, threads: int) -> dict[str, Any]:
    """Return for one precision the largest difference of logits in some windows of the ids, and the equal tokens."""
    model = run.config.model
    path = export_gguf(run, folder / f"{precision}.gguf", precision)
    # Each file is written from the run's own weights, which are restored at the end.
    kept = {name: weight.clone() for name, weight in run.model.state_dict().items()}
    run.model.load_state_dict(read_gguf(path, model), strict=False)
    prompt, windows, program = ids[:PROMPT_TOKENS].tolist(), ids.split(model.block_size), Cached(run.model)
    logits = [program.logits(window.tolist()) for window in windows]
    ours = program.greedy(prompt, TOKENS)
    with closing(LlamaCpp(path, model.block_size, threads)) as llama:
        largest = max((llama.logits(one.tolist()) - mine).abs().max().item() for one, mine in zip(windows, logits))
        theirs = llama.greedy(prompt, TOKENS)
    same = next((n for n, (one, other) in enumerate(zip(ours, theirs)) if one != other), TOKENS)
    gap = None
    if same < TOKENS:
        first, second = program.logits([*prompt, *ours[:same]])[-1].topk(2).values.tolist()
        gap = first - second
    share = TOLERANCE[llama_architecture(model).model_type][precision]
    run.model.load_state_dict(kept)
    return {
        "precision": precision,
        "bytes": path.stat().st_size,
        "largest_difference": largest,
        "allowed_difference": allowed_difference(share, torch.cat(logits)),
        "same_tokens": same,
        "gap_where_they_part": gap,
    }


if __name__ == "__main__":
    main()
