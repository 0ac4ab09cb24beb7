"""A run's folder: what is in it, written so that it is whole at every moment, and read without trust.

    config.toml          every setting (`nanogpt.config`)
    plan.toml            text, length and its changes (`nanogpt.plan`)
    tokenizer.json       (`nanogpt.tokenizer`)
    metrics.jsonl        a line for each logged step and evaluation
    checkpoints/step-N/  model.safetensors, optimizer.safetensors, state.json
    checkpoints/last     a text file that names a step, as does checkpoints/best

A checkpoint is written beside its place and renamed into it; `last` and `best` move only after that. Tensors are
read from safetensors alone, which holds numbers and no code.
"""

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanogpt.config import Config
from nanogpt.errors import UserError
from nanogpt.files import FORMAT, check_format, read_toml, write_atomically
from nanogpt.model import GPT
from nanogpt.plan import Plan
from nanogpt.tokenizer import Tokenizer, dump_tokenizer, parse_tokenizer

KEEP = 2
"""Checkpoints kept besides the best: the last, and the one before it."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a training stands, beyond its weights."""

    step: int = 0
    """updates done"""
    best_step: int | None = None
    """the step with the lowest validation loss so far"""
    best_loss: float | None = None
    """that loss, nats a token"""
    stale: int = 0
    """evaluations since then"""
    seconds: float = 0.0
    """time spent in training steps"""
    pending: tuple[float, ...] = ()
    """training losses of the newest steps, which no line of metrics has yet"""


class RunFolder:
    """The paths of a run, and its small files."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> "RunFolder":
        """Make a new, empty folder; UserError where it exists already: a run is never overwritten."""
        try:
            Path(path).mkdir(parents=True)
        except FileExistsError:
            raise UserError(
                f"{os.fspath(path)!r} exists already, and a run is never overwritten: choose another --out, go on "
                f"with it by --resume {shlex.quote(os.fspath(path))}, or delete it"
            ) from None
        except OSError as error:
            raise UserError(
                f"cannot make the folder {os.fspath(path)!r}: {error.strerror}; choose another --out"
            ) from None
        return cls(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "RunFolder":
        """An existing run; UserError where the folder is none."""
        folder = cls(path)
        if not folder.path.is_dir():
            raise UserError(f"no run folder {str(folder.path)!r}; `nanogpt runs` lists those that are here")
        missing = [
            name for name in ("config.toml", "plan.toml", "tokenizer.json") if not (folder.path / name).is_file()
        ]
        if missing:
            raise UserError(
                f"{str(folder.path)!r} is not a run folder: it has no {' and no '.join(missing)}; "
                f"`nanogpt runs` lists those that are here"
            )
        return folder

    def read_config(self) -> Config:
        """The run's settings."""
        where = self.path / "config.toml"
        return Config.from_dict(read_toml(where), str(where))

    def write_config(self, config: Config) -> None:
        """Keep the run's settings."""
        write_atomically(self.path / "config.toml", tomli_w.dumps(config.to_dict()).encode())

    def read_plan(self) -> Plan:
        """The run's plan, with its changes."""
        where = self.path / "plan.toml"
        return Plan.from_dict(read_toml(where), str(where))

    def write_plan(self, plan: Plan) -> None:
        """Keep the plan; called before a change of it is acted on."""
        write_atomically(self.path / "plan.toml", tomli_w.dumps(plan.to_dict()).encode())

    def read_tokenizer(self) -> Tokenizer:
        """The run's tokenizer."""
        where = self.path / "tokenizer.json"
        return parse_tokenizer(_read_text(where), str(where))

    def write_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Keep the run's tokenizer."""
        write_atomically(self.path / "tokenizer.json", dump_tokenizer(tokenizer).encode())

    def check_vocabulary(self) -> None:
        """Raise UserError where the tokenizer is not the one that the model was made for."""
        size, expected = self.read_tokenizer().vocab_size, self.read_config().model.vocab_size
        if size != expected:
            raise UserError(
                f"{self.path / 'tokenizer.json'} has {size} tokens, but config.toml says vocab_size {expected}: "
                f"restore the tokenizer that the run was trained with"
            )

    def metrics(self) -> Iterator[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line that was cut off by a crash is left out."""
        try:
            lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                return

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one line."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def cut_metrics(self, step: int) -> None:
        """Forget what was logged after a step, from which the run now goes on."""
        kept = [json.dumps(line) + "\n" for line in self.metrics() if line["step"] <= step]
        write_atomically(self.path / "metrics.jsonl", "".join(kept).encode())

    def checkpoint(self, which: str) -> Path | None:
        """The folder of `last` or `best`; None where there is none yet."""
        pointer = self.path / "checkpoints" / which
        if not pointer.is_file():
            return None
        name = _read_text(pointer).strip()
        folder = pointer.parent / name
        # The name is data: only a step below this folder will do, whatever the file says.
        if not (name.startswith("step-") and name[5:].isdecimal()) or not folder.is_dir():
            raise UserError(f"{pointer} names {name[:40]!r}, which is not a checkpoint here: correct or restore it")
        return folder

    def save_checkpoint(self, model: GPT, optimizer: torch.optim.Optimizer, state: State) -> Path:
        """Write `checkpoints/step-N`, then point `last`, and `best` where this is it, to it; drop old ones."""
        parent = self.path / "checkpoints"
        name = f"step-{state.step}"
        for half_written in parent.glob(".step-*"):  # left by a run that was killed
            shutil.rmtree(half_written)
        beside = parent / f".{name}.{os.getpid()}"
        beside.mkdir(parents=True)
        try:
            save_file(model_tensors(model), beside / "model.safetensors")
            save_file(optimizer_tensors(model, optimizer), beside / "optimizer.safetensors")
            (beside / "state.json").write_text(json.dumps({"format": FORMAT, **asdict(state)}) + "\n", encoding="utf-8")
            for file in beside.iterdir():
                _flush(file)
            # Left by a run that was killed between this rename and the pointer's; nothing points to it.
            shutil.rmtree(parent / name, ignore_errors=True)
            beside.replace(parent / name)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        write_atomically(parent / "last", f"{name}\n".encode())
        self.point_to_best(state)
        self._drop_old(state)
        return parent / name

    def point_to_best(self, state: State) -> None:
        """Make `best` name the best step by the state, also where a kill came between the two pointers' moves."""
        best = self.path / "checkpoints" / f"step-{state.best_step}"
        if best.is_dir():
            write_atomically(best.parent / "best", f"{best.name}\n".encode())

    def _drop_old(self, state: State) -> None:
        folders = {int(f.name[5:]): f for f in (self.path / "checkpoints").glob("step-*") if f.name[5:].isdecimal()}
        kept = sorted(step for step in folders if step <= state.step)[-KEEP:]
        for step, folder in folders.items():
            if step not in kept and step != state.best_step:
                shutil.rmtree(folder, ignore_errors=True)


def read_state(checkpoint: Path) -> State:
    """Where the training stood at a checkpoint."""
    where = checkpoint / "state.json"
    try:
        tables = json.loads(_read_text(where))
        check_format(tables, str(where))
        return State(
            **{field.name: tables[field.name] for field in fields(State)} | {"pending": tuple(tables["pending"])}
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{where} is damaged: restore it, or delete {checkpoint.name} and its name in 'last'") from None


def model_tensors(model: GPT) -> dict[str, Tensor]:
    """Name to weight, a shared one once: what model.safetensors holds."""
    return {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}


def load_model_tensors(model: GPT, path: Path) -> None:
    """Put a checkpoint's weights into a model, after their names and shapes were compared with its own."""
    own = dict(model.named_parameters())
    _check_shapes(path, {name: tuple(p.shape) for name, p in own.items()})
    with torch.no_grad():
        for name, tensor in load_file(path).items():
            own[name].copy_(tensor)


def optimizer_tensors(model: GPT, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state by the names of parameters, `blocks.0.mlp.up.weight:exp_avg`."""
    return {
        f"{name}:{key}": value.detach().cpu().contiguous()
        for name, p in model.named_parameters()
        for key, value in optimizer.state.get(p, {}).items()
    }


def load_optimizer_tensors(model: GPT, optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Put back what `optimizer_tensors` gave."""
    own = dict(model.named_parameters())
    # A parameter that no loss has reached yet (in a block of one's own) has no state.
    kept = {name.split(":")[0] for name in _shapes(path)}
    expected = {
        f"{name}:{key}": tuple(own[name].shape) for name in kept & own.keys() for key in ("exp_avg", "exp_avg_sq")
    }
    _check_shapes(path, expected | {f"{name}:step": () for name in kept & own.keys()})
    on_device = optimizer.defaults.get("fused")  # where the optimizer wants its count of steps
    for full_name, tensor in load_file(path).items():
        name, key = full_name.split(":")
        device = own[name].device if key != "step" or on_device else torch.device("cpu")
        optimizer.state[own[name]][key] = tensor.to(device, copy=True)


def _check_shapes(path: Path, expected: dict[str, tuple[int, ...]]) -> None:
    """Compare a file's header with the names and shapes that the config asks for, before anything is read."""
    found = _shapes(path)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise UserError(
                f"{path} does not match config.toml: {name} is {_shape(found.get(name))} in the file and "
                f"{_shape(expected.get(name))} by the config; restore the config that the run was trained with"
            )


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file's tensors, from its header."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path} is missing: restore it from a copy of the run") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): restore it from a copy of the run") from None


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"{list(shape)}"


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"cannot read {str(path)!r}: restore it from a copy of the run") from None


def _flush(path: Path) -> None:
    with path.open("rb+") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())
