"""Whether llama.cpp writes the same 200 tokens as `nanogpt sample`, and how close its logits are.

    python -m benchmarks.llama_cpp

Small models are trained, one for each kind of tokenizer, one on a text that is not ASCII (`quijote.txt` in the folder
NANOGPT_DATA), and one with GPT-2's block. Each is exported to GGUF in three precisions. llama.cpp and the library then
continue the validation text by the likeliest token with the same weights. Where two logits are closer than the rounding
of the two programs, their texts may diverge. Needs the extras `gguf` and `llama`.
"""

import os
import tempfile
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

import nanogpt
from benchmarks.record import new_parser, parse
from nanogpt.config import SampleConfig
from nanogpt.interop.gguf.export import export_gguf
from nanogpt.interop.gguf.llama import LlamaCpp
from nanogpt.interop.gguf.reading import read_gguf
from nanogpt.interop.gguf.tensors import TOLERANCE, Precision, llama_architecture
from nanogpt.interop.verify.compare import allowed_difference
from nanogpt.runs.run import Run
from nanogpt.sampling.generate import generate_ids

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
    parser = new_parser(__doc__)
    parser.add_argument("--steps", type=int, default=300, help="steps of each model's training")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options, parts = parse(parser, "llama_cpp")
    versions = {name: version(name) for name in ("llama-cpp-python", "gguf")}
    torch.set_num_threads(options.threads)
    rows = []
    for name, settings in MODELS.items():
        key = {"model": name, "steps": options.steps, "threads": options.threads, **versions, **SIZES, **settings}
        row = parts.measure(key, lambda settings=settings: measure(settings, options.steps, options.threads))  # type: ignore[misc]
        rows.append({"model": name, **{field: row[field] for field in ("vocab_size", "not_ascii", "exports")}})
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
        exports = [compare(run, ids, precision, Path(folder), threads) for precision in PRECISIONS]
        ascii_only = run.tokenizer.decode(ids.tolist()).isascii()
        return {"vocab_size": run.tokenizer.vocab_size, "not_ascii": not ascii_only, "exports": exports}


def compare(run: Run, ids: Tensor, precision: Precision, folder: Path, threads: int) -> dict[str, Any]:
    """Return for one precision the largest difference of logits in some windows of the ids, and the equal tokens."""
    model = run.config.model
    path = export_gguf(run, folder / f"{precision}.gguf", precision)
    # Each file is written from the run's own weights, which are restored at the end.
    kept = {name: weight.clone() for name, weight in run.model.state_dict().items()}
    run.model.load_state_dict(read_gguf(path, model), strict=False)
    prompt, text = ids[:PROMPT_TOKENS], run.tokenizer.decode(ids.tolist())
    sampled = generate_ids(run.model, prompt, SampleConfig(tokens=TOKENS, temperature=0.0))
    ours = [row[0] for row in sampled]
    windows = ids.split(model.block_size)
    with torch.no_grad():
        logits = [run.model(window[None])[0] for window in windows]
    with closing(LlamaCpp(path, model.block_size, threads)) as llama:
        largest = max((llama.logits(one.tolist()) - mine).abs().max().item() for one, mine in zip(windows, logits))
        theirs = llama.greedy(prompt.tolist(), TOKENS)
        same_ids = llama.encode(text) == run.tokenizer.encode(text).tolist()
    share = TOLERANCE[llama_architecture(model).model_type][precision]
    row = {
        "precision": precision,
        "bytes": path.stat().st_size,
        "largest_difference": largest,
        "allowed_difference": allowed_difference(share, torch.cat(logits)),
        "same_ids": same_ids,
        **compare_texts(run, prompt.tolist(), ours, theirs),
    }
    run.model.load_state_dict(kept)
    return row


def compare_texts(run: Run, prompt: list[int], ours: Sequence[int], theirs: Sequence[int]) -> dict[str, Any]:
    """Return the number of equal tokens, and the gap of the two largest logits where the texts diverge."""
    same = next((n for n, (one, other) in enumerate(zip(ours, theirs)) if one != other), len(ours))
    gap = None
    if same < len(ours):
        with torch.no_grad():
            first, second = run.model(torch.tensor([[*prompt, *ours[:same]]]))[0, -1].topk(2).values.tolist()
        gap = first - second
    return {"same_tokens": same, "gap_where_they_part": gap, "text": run.tokenizer.decode(ours)}


if __name__ == "__main__":
    main()
