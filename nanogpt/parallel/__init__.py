"""Devices, and the processes that train one run together.

- `devices`: which device and number format to use, threads
- `out_of_memory`: memory that runs out
- `world`: one process, and the questions that training asks of it
- `distributed`: several processes under torchrun, by ddp or fsdp
- `process`: settings of this process for speed: idle threads, freed memory
"""
