"""The model that comes with the package: made from a finished run, measured before and after rounding to 8 bits.

    python -m benchmarks.starter --make runs/starter
    python -m benchmarks.starter

The run is trained by the command in `TRAINED_BY`, with the sizes that `nanogpt plan shakespeare --minutes 10` picks on
two cores, and the steps that ten minutes allow there. The matrices of its last checkpoint are rounded to 8 bits;
`made.json` in the model's folder has how it was made and what was measured. Without `--make` the present model is
measured again, and the time of `nanogpt sample --prompt ROMEO:` with it, in an empty folder.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nanogpt
from benchmarks.pairs import values
from benchmarks.processes import Workspace
from benchmarks.record import circumstances, new_parser, parse
from nanogpt.errors import UserError
from nanogpt.runs.eight_bits import narrow
from nanogpt.runs.find import STARTER, STARTER_FOLDER
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.weights import model_tensors
from nanogpt.training.new_run import create_folder

TRAINED_BY = (
    "nanogpt train shakespeare --steps 1100 --n-layer 4 --n-head 6 --n-embd 192 --block-size 128 --batch-size 16 "
    "--out runs/starter"
)
MADE = "made.json"
LARGEST_BYTES = 4_000_000
SAMPLE = ("sample", "--prompt", "ROMEO:", "--tokens", "100")
GOAL_SECONDS = 3.0
FIGURES = ("loss", "loss_interval", "bits_per_byte", "protocol", "tokens")


def main() -> None:
    """Make the model if asked for; measure, print, record."""
    parser = new_parser(__doc__, runs=7)
    parser.add_argument("--make", type=Path, metavar="RUN", help="replace the starter model by this run's")
    options, parts = parse(parser, "starter")
    if options.make is not None:
        make(options.make)
    with Workspace.temporary() as work:
        loss = parts.measure({"what": "loss"}, lambda: figures(STARTER, work))
        starts = parts.repeat(
            options.runs, {"what": "cold start"}, lambda _: {"seconds": work.nanogpt(*SAMPLE).seconds}
        )
    made = json.loads((STARTER_FOLDER / MADE).read_text(encoding="utf-8"))  # with the losses before rounding
    result = {name: made[name] for name in ("trained_by", "parameters", "float32")}
    result |= {"bytes": size(STARTER_FOLDER), "eight_bits": {name: loss[name] for name in FIGURES}}
    seconds = values([row["seconds"] for row in starts])
    parts.write(result | {"sample": {"command": f"nanogpt {' '.join(SAMPLE)}", **seconds, "goal": GOAL_SECONDS}})


def make(trained: Path, place: Path = STARTER_FOLDER) -> None:
    """Write the starter model of a finished run to `place`. Raises UserError for a run that is not finished."""
    measured_in = circumstances()
    with Workspace.temporary() as work:
        rounded = work.folder / STARTER
        before = figures(str(trained.absolute()), work)
        round_run(trained, rounded)
        after = figures(str(rounded), work)
        replace_loss(RunFolder(rounded), after)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(rounded, place)
    for file in place.rglob("*.safetensors"):
        file.chmod(0o644)  # like the package's other files: safetensors writes for its owner only
    made = {
        "trained_by": TRAINED_BY,
        **{name: measured_in[name] for name in ("when", "commit", "hardware", "versions")},
        "parameters": nanogpt.load(place, checkpoint="last", device="cpu").model.parameter_count,
        "float32": {name: before[name] for name in FIGURES},
        "eight_bits": {name: after[name] for name in FIGURES},
        "note": "metrics.jsonl is the training's own, but the loss in its last line was measured after rounding",
    }
    (place / MADE).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    if size(place) > LARGEST_BYTES:
        raise UserError(f"{place} has {size(place):,} bytes, more than {LARGEST_BYTES:,}: train a smaller model")


def round_run(trained: Path, place: Path) -> None:
    """Write a run's last checkpoint as a run, with matrices in 8 bits and without the optimizers' state."""
    run = nanogpt.load(trained, checkpoint="last", device="cpu")
    if not any(line["event"] == "done" for line in run.folder.metrics()):
        raise UserError(f"{str(trained)!r} is not finished: continue with nanogpt train --resume {trained}")
    folder = create_folder(place)
    folder.write_config(run.config)
    folder.write_tokenizer(run.tokenizer)
    folder.write_plan(run.plan)
    shutil.copy(run.path / "metrics.jsonl", place)
    last = run.folder.checkpoints.find("last")
    assert last is not None
    state = replace(last.state, best_step=last.state.step)  # its only checkpoint is its best
    folder.checkpoints.save(state, narrow(model_tensors(run.model)), {})


def replace_loss(folder: RunFolder, found: dict[str, Any]) -> None:
    """Write the loss of the present weights to the last line of a run's metrics."""
    done = next(line for line in folder.metrics() if line["event"] == "done")
    folder.cut_metrics(done["step"])
    folder.append_metrics(done | {name: found[name] for name in done.keys() & found.keys()})


def figures(name: str, work: Workspace) -> dict[str, Any]:
    """Return the whole-split loss of a run's last checkpoint, by `nanogpt eval`."""
    found = work.evaluate(run=name)
    return {name: found[name] for name in FIGURES}


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
