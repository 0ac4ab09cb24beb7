"""Several processes of this machine that train together, for tests.

A fork server that has imported torch starts them, in a fraction of a second. They meet at a store that this process
holds, at a port that the system chose.
"""

import multiprocessing
import os
import traceback
from datetime import timedelta
from pathlib import Path

from torch.distributed import TCPStore

SECONDS = 300


def together(size: int, work, *arguments) -> list:
    """What `work(world, *arguments)` returns in each of `size` processes that joined; raises what one of them raises."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nanogpt.training.trainer", "torch.distributed", "torch.distributed.fsdp"])
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=SECONDS))
    queue = context.Queue()
    processes = [
        context.Process(target=_run, args=(queue, _variables(rank, size, store.port), Path.cwd(), work, arguments))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    results = {}
    try:
        while len(results) < size:
            rank, result, problem = queue.get(timeout=SECONDS)
            assert not problem, f"process {rank}: {problem}"
            results[rank] = result
    finally:
        for process in processes:
            process.join(10 if len(results) == size else 0)  # after a failure the others may wait for each other
            process.kill()
    return [results[rank] for rank in range(size)]


def _variables(rank: int, size: int, port: int) -> dict[str, str]:
    """This process's environment, and what torchrun would add."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    added = {name: str(number) for name, number in numbers.items()}
    return {**os.environ, **added, "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True"}


def _run(queue, variables, folder, work, arguments) -> None:
    import torch

    from nanogpt.parallel.distributed import joined

    os.environ.update(variables)
    os.chdir(folder)
    torch.set_num_threads(1)
    try:
        with joined() as world:
            result = work(world, *arguments)
        queue.put((world.rank, result, ""))
    except BaseException:
        queue.put((int(variables["RANK"]), None, traceback.format_exc()))
