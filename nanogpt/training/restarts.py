"""Runs whose processes torchrun restarted (`--max-restarts`): they continue instead of beginning a second run."""

import os
from pathlib import Path

from nanogpt.parallel.distributed import ProcessGroup
from nanogpt.parallel.world import World
from nanogpt.runs.find import list_runs
from nanogpt.runs.folder import RunFolder

JOB_FILE = ".torchrun-job"
"""File of a run folder that names the job that began the run"""


def remember_job(folder: RunFolder, world: World) -> None:
    """Write the name of the torchrun job into a new run's folder."""
    if isinstance(world, ProcessGroup) and world.job is not None:
        (folder.path / JOB_FILE).write_text(world.job + "\n", encoding="utf-8")


def run_before_restart(world: World, out: str | os.PathLike[str] | None) -> RunFolder | None:
    """Return the run that this job began before torchrun restarted its processes; None where there is none."""
    if not isinstance(world, ProcessGroup) or not world.restarts:
        return None
    for folder in list_runs() if out is None else [RunFolder(Path(out))]:
        file = folder.path / JOB_FILE
        begun = (folder.path / "plan.toml").is_file() and file.is_file()
        if begun and file.read_text(encoding="utf-8").strip() == world.job:
            return folder
    return None
