"""Each format in the program that it is for, held against the run: made here and now, or a file that is given.

Two things are asked. Whether the file has the run's weights, as near as its number format allows; and whether the other
program computes with them what the library computes with the very same numbers.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.interop.opened import CannotRun, Opened
from nanogpt.interop.proof.compare import FLOAT32, Contexts, Row, compare
from nanogpt.model import GPT
from nanogpt.run import Run
from nanogpt.tensors import model_tensors

WEIGHTS = {"f32": 0.0, "f16": 2**-11, "q8_0": 0.005, "8 bits": 0.005}
"""By number format, the largest difference of a weight as a share of the largest in its row: half a step of rounding.
With 8 bits a step is 1/127, and its scale is rounded to 16 bits too."""


def export_rows(run: Run, contexts: Contexts, folder: Path) -> Iterator[Row]:
    """A row for each format that can be made; what is made is left in an empty folder."""
    from nanogpt.interop.gguf.export import export_gguf
    from nanogpt.interop.html.export import export_html
    from nanogpt.interop.hugging_face.export import export_hugging_face

    makers: dict[str, Callable[[], Path]] = {
        "Transformers": lambda: export_hugging_face(run, folder / "hf"),
        "llama.cpp, f32": lambda: export_gguf(run, folder / "f32.gguf", "f32"),
        "llama.cpp, f16": lambda: export_gguf(run, folder / "f16.gguf", "f16"),
        "llama.cpp, q8_0": lambda: export_gguf(run, folder / "q8_0.gguf", "q8_0"),
        "browser, 8 bits": lambda: export_html(run, folder / "page.html"),
    }
    for name, make in makers.items():
        try:
            place = make()
        except UserError as error:
            yield Row(name=name, not_run=str(error))
            continue
        yield replace(given_row(run, contexts, place), name=name)


def given_row(run: Run, contexts: Contexts, place: Path) -> Row:
    """A folder of Transformers, a .gguf or an .html file, held against the run. UserError for anything else."""
    if place.is_dir():
        open_it = _transformers
    elif place.suffix in (".gguf", ".html"):
        open_it = _llama if place.suffix == ".gguf" else _browser
    else:
        raise UserError(f"{str(place)!r} is neither a folder of Transformers nor a .gguf or .html file: name one")
    try:
        return _held(run, contexts, str(place), open_it(run, place))
    except CannotRun as error:
        return Row(name=str(place), not_run=str(error))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A file, and the program that has opened it."""

    weights: Mapping[str, Tensor]
    """as the file has them, by our names"""
    precision: str
    share: float
    """of the logits' standard deviation, by which the program's may differ from ours on these weights"""
    program: Opened


def _transformers(run: Run, place: Path) -> Target:
    from nanogpt.interop.hugging_face.opening import TransformersModel
    from nanogpt.interop.hugging_face.reading import read_pretrained

    weights = read_pretrained(place).tensors
    return Target(weights=weights, precision="f32", share=FLOAT32, program=TransformersModel(place))


def _llama(run: Run, place: Path) -> Target:
    from nanogpt.interop.families import family_of
    from nanogpt.interop.gguf.llama import LlamaCpp
    from nanogpt.interop.gguf.precision import TOLERANCE
    from nanogpt.interop.gguf.reading import read_gguf, read_precision

    model, precision = run.config.model, read_precision(place)
    share = TOLERANCE[family_of(model).MODEL_TYPE][precision]
    program = LlamaCpp(place, model.block_size)
    return Target(weights=read_gguf(place, model), precision=precision, share=share, program=program)


def _browser(run: Run, place: Path) -> Target:
    from nanogpt.interop.html.browser import BrowserPage
    from nanogpt.interop.html.reading import read_html

    return Target(weights=read_html(place)[1], precision="8 bits", share=FLOAT32, program=BrowserPage(place))


def _held(run: Run, contexts: Contexts, name: str, target: Target) -> Row:
    """Weights, logits, text and ids of another program held against the run."""
    with closing(target.program):
        apart, most = weights_apart(model_tensors(run.model), target.weights), WEIGHTS[target.precision]
        if apart is None:
            return Row(name=name, problems=("it is of another model: its weights have other names or sizes",))
        row = compare(name, _with_weights(run.model, target.weights), target.program, contexts, target.share)
        same = target.program.encode(contexts.text) == run.tokenizer.encode(contexts.text).tolist()
        found = {
            f"it is of other weights: they differ by {apart:.2g} of the largest in their row, and {target.precision} "
            f"explains {most:.2g}": not apart <= most,
            "its ids of a text are others": not same,
        }
        problems = (*row.problems, *(problem for problem, holds in found.items() if holds))
        return replace(row, weights=apart, ids="the same" if same else "others", problems=problems)


def _with_weights(model: GPT, weights: Mapping[str, Tensor]) -> GPT:
    """A model like this one that computes with a file's weights."""
    other = GPT(model.config)
    for name, p in other.named_parameters():
        p.data = weights[name]
    if model.config.tie_embeddings:
        other.lm_head.weight = other.token_embedding.weight
    return other.eval()


def weights_apart(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float | None:
    """The largest difference of a weight, as a share of the largest in its row; None where names or sizes differ.

    >>> one = {"w": torch.tensor([[4.0, 1.0], [8.0, 0.0]])}
    >>> weights_apart(one, {"w": torch.tensor([[4.0, 2.0], [8.0, 1.0]])}), weights_apart(one, {})
    (0.25, None)
    """
    if {name: one.shape for name, one in ours.items()} != {name: one.shape for name, one in theirs.items()}:
        return None
    shares = [
        ((one - theirs[name]).abs().amax(-1) / one.abs().amax(-1).clamp_min(1e-30)).max().item()
        for name, one in ours.items()
    ]
    return max(shares)
