"""Training.

- `options`: the entry point: the options of a training; `nanogpt.train` and `nanogpt.plan`
- `new_run`: from options to a run folder with config, tokenizer and plan
- `trainer`: the loop: batch, forward, backward, clip, step, log, evaluate, sample, save
- `pace`: keeping a run to its minutes
- `speed`: measuring this machine
- `recovery`: divergence, and memory that runs out
- `compilation`: torch.compile
- `fine_tuning`: settings of a run that starts from another run's weights
- `seeds`: the same run with several seeds
- `restarts`: runs whose processes torchrun restarted
"""
