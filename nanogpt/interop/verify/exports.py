"""All checks of a run: the native ways to run it, and each export in the program that it was made for.

The file must have the run's weights, as exactly as its number format allows, and the other program must compute with
them what plain torch does.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.interop.formats import ExportedModel, MissingProgram
from nanogpt.interop.verify.compare import FLOAT32, Contexts, Row, compare, find_other_ids, make_contexts, native_rows
from nanogpt.model.gpt import GPT
from nanogpt.runs.run import Run
from nanogpt.runs.weights import model_tensors

ROUNDING = {"f32": (0.0, 0.0), "f16": (2**-11, 2**-25), "q8_0": (0.005, 2**-17), "8 bits": (0.005, 2**-17)}
"""Allowed difference of a weight by number format: relative to the largest in its row, plus an absolute term.

The relative term is half a rounding step; with 8 bits a step is 1/127, and the scale is rounded to 16 bits too. The
absolute term is for numbers below 2^-14, which lose digits in 16 bits, and those below 2^-24, which become zero."""
COMPARED = (
    *("vocab_size", "block_size", "n_layer", "n_head", "kv_heads", "n_embd", "head_channels", "hidden", "norm"),
    *("norm_position", "norm_eps", "position", "activation", "qk_norm", "tie_embeddings"),
)
"""Settings of a model that other programs compute by."""


def verify_run(run: Run, against: str | os.PathLike[str] | None = None) -> Iterator[Row]:
    """Yield the results for the native ways and for each export, made in a temporary folder; or only for `against`."""
    contexts = make_contexts(run.model, run.tokenizer)
    if against is not None:
        yield verify_export(run, contexts, Path(against))
        return
    yield from native_rows(run.model, contexts)
    with tempfile.TemporaryDirectory() as folder:
        yield from export_rows(run, contexts, Path(folder))


def export_rows(run: Run, contexts: Contexts, folder: Path) -> Iterator[Row]:
    """Yield the result for each format, exported into an empty folder."""
    from nanogpt.interop.gguf.export import export_gguf
    from nanogpt.interop.html.export import export_html
    from nanogpt.interop.hugging_face.export import export_hugging_face

    exporters: dict[str, Callable[[], Path]] = {
        "Transformers": lambda: export_hugging_face(run, folder / "hf"),
        "llama.cpp, f32": lambda: export_gguf(run, folder / "f32.gguf", "f32"),
        "llama.cpp, f16": lambda: export_gguf(run, folder / "f16.gguf", "f16"),
        "llama.cpp, q8_0": lambda: export_gguf(run, folder / "q8_0.gguf", "q8_0"),
        "browser, 8 bits": lambda: export_html(run, folder / "page.html"),
    }
    for name, export in exporters.items():
        try:
            path = export()
        except UserError as error:
            yield Row(name=name, not_run=str(error))
            continue
        try:
            yield replace(verify_export(run, contexts, path), name=name)
        except UserError as error:  # the new export cannot be opened
            yield Row(name=name, problems=(str(error),))


def verify_export(run: Run, contexts: Contexts, path: Path) -> Row:
    """Compare a folder of Transformers, a .gguf file or an .html file with the run; raise UserError if it is none."""
    if path.is_dir():
        open_export = _open_transformers
    elif path.suffix in (".gguf", ".html"):
        open_export = _open_llama if path.suffix == ".gguf" else _open_browser
    else:
        raise UserError(f"{str(path)!r} is neither a folder of Transformers nor a .gguf or .html file: give one")
    try:
        return _compare_export(run, contexts, str(path), open_export(run, contexts, path))
    except MissingProgram as error:
        return Row(name=str(path), not_run=str(error))
    except UserError:
        raise
    except Exception as error:  # other programs fail in their own ways, and each failure counts as a difference
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Row(name=str(path), problems=(f"it cannot be opened or run ({type(error).__name__}: {reason[:120]})",))


@dataclass(frozen=True, kw_only=True)
class Export:
    """An export and the program that has opened it."""

    weights: Mapping[str, Tensor]
    """the file's weights, by our names"""
    settings: Mapping[str, object]
    """what the file states about the model"""
    precision: str
    share: float
    """allowed difference of the logits, as in `allowed_difference`"""
    program: ExportedModel


def _open_transformers(run: Run, contexts: Contexts, path: Path) -> Export:
    from nanogpt.interop.hugging_face.importing import read_pretrained

    found = read_pretrained(path)
    settings = _settings(found.config) | {"end of text": found.end_of_document}
    program, ours = TransformersModel(path), model_tensors(run.model)
    # The format has zeros where the run's model has no bias.
    weights = {name: one for name, one in found.tensors.items() if name in ours or "bias" not in name or one.any()}
    return Export(weights=weights, settings=settings, precision="f32", share=FLOAT32, program=program)


def _open_llama(run: Run, contexts: Contexts, path: Path) -> Export:
    from nanogpt.interop.gguf.llama import LlamaCpp
    from nanogpt.interop.gguf.reading import read_gguf, read_settings
    from nanogpt.interop.gguf.tensors import TOLERANCE, llama_architecture
    from nanogpt.interop.gguf.vocabulary import to_vocabulary

    model, (precision, block_size, end) = run.config.model, read_settings(path)
    if end == to_vocabulary(run.tokenizer).end:
        end = run.tokenizer.end_of_document  # a run without one: the file names another token in its place
    return Export(
        weights=read_gguf(path, model),
        settings={"block_size": block_size, "end of text": end},
        precision=precision,
        share=TOLERANCE[llama_architecture(model).model_type][precision],
        program=LlamaCpp(path, contexts.longest),
    )


def _open_browser(run: Run, contexts: Contexts, path: Path) -> Export:
    from nanogpt.interop.html.browser import BrowserPage
    from nanogpt.interop.html.reading import check_page, load_html

    check_page(path)
    model = load_html(path)
    settings, weights = _settings(model.config), model_tensors(model)
    return Export(weights=weights, settings=settings, precision="8 bits", share=FLOAT32, program=BrowserPage(path))


class TransformersModel:
    """An exported model in Transformers, without a network and without code from the folder (`ExportedModel`)."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a folder; raise MissingProgram without Transformers, UserError if Transformers refuses it."""
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils import logging
        except ImportError:
            raise MissingProgram("Transformers is not installed: pip install 'nanogpt[hf]'") from None
        logging.disable_progress_bar()
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype="float32", **local)
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(
                f"Transformers cannot open {os.fspath(folder)!r} ({str(error).splitlines()[0]}): export it again"
            ) from None
        self._model.eval()
        self._model.generation_config.eos_token_id = None  # to continue after it, as plain torch does

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of the token after each of ids, float32, shape (T, V)."""
        found: Tensor = self._model(torch.tensor([list(ids)])).logits[0]
        return found.float()

    @torch.no_grad()
    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """Return the next `tokens` tokens after ids, always the likeliest, also after an end-of-text token."""
        idx = torch.tensor([list(ids)])
        found = self._model.generate(idx, attention_mask=torch.ones_like(idx), do_sample=False, max_new_tokens=tokens)
        new: list[int] = found[0, len(ids) :].tolist()
        return new

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text; with a chat template, of one that somebody typed, as its user has to say."""
        typed = {"split_special_tokens": True} if self._tokenizer.chat_template else {}
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False, **typed).input_ids
        return ids

    def close(self) -> None:
        """Do nothing: the model has no resources but its memory."""


def _compare_export(run: Run, contexts: Contexts, name: str, export: Export) -> Row:
    """Compare an export's settings, weights, logits, text and ids with the run's."""
    with closing(export.program):
        relative, absolute = ROUNDING[export.precision]
        difference = weight_difference(model_tensors(run.model), export.weights, absolute)
        if difference is None:
            return Row(name=name, problems=("it is another model: its weights have other names or sizes",))
        row = compare(name, _with_weights(run.model, export.weights), export.program, contexts, export.share)
        other_ids = find_other_ids(run.tokenizer, export.program.encode, contexts.text)
    own = _settings(run.config.model) | {"end of text": run.tokenizer.end_of_document}
    problems = [
        f"its {setting} is {value}, the run's {own.get(setting)}"
        for setting, value in export.settings.items()
        if value != own.get(setting)
    ]
    problems += row.problems
    if not difference <= relative:  # also NaN
        problems.append(
            f"it has other weights: they differ by {difference:.2g} of the largest in their row, and rounding to "
            f"{export.precision} explains {relative:.2g}"
        )
    if other_ids is not None:
        problems.append(other_ids)
    ids = "the same" if other_ids is None else "not the same"
    return replace(row, weights=difference, ids=ids, problems=tuple(problems))


def _settings(model: ModelConfig) -> dict[str, object]:
    rope = {"rope_theta": model.rope_theta} if model.position == "rope" else {}
    return {name: getattr(model, name) for name in COMPARED} | rope


def _with_weights(model: GPT, weights: Mapping[str, Tensor]) -> GPT:
    """Return a model of the same config with a file's weights."""
    other = GPT(model.config)
    for name, p in other.named_parameters():
        p.data = weights[name]
    if model.config.tie_embeddings:
        other.lm_head.weight = other.token_embedding.weight
    return other.eval()


def weight_difference(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], absolute: float = 0.0) -> float | None:
    """Return the largest difference of a weight, less `absolute`, as a share of the largest weight in its row.

    None means that names or sizes differ.

    >>> one = {"w": torch.tensor([[4.0, 1.0], [8.0, 0.0]])}
    >>> weight_difference(one, {"w": torch.tensor([[4.0, 2.0], [8.0, 1.0]])}), weight_difference(one, {})
    (0.25, None)
    """
    if {name: one.shape for name, one in ours.items()} != {name: one.shape for name, one in theirs.items()}:
        return None
    shares = [
        (((one - theirs[name]).abs().amax(-1) - absolute).clamp_min(0) / one.abs().amax(-1).clamp_min(1e-30)).max()
        for name, one in ours.items()
    ]
    return torch.stack(shares).max().item()  # keeps NaN
