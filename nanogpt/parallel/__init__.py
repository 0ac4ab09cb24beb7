"""Devices, and the processes that train one run together.

- `devices`: which device and number format to use, threads, memory that runs out
- `world`: one process, and the interface that training uses
- `distributed`: several processes under torchrun, by ddp or fsdp
- `process`: this process: idle threads, freed memory, Ctrl-C and other signals
"""
