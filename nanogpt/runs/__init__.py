"""A run on disk, and a trained model opened from it.

- `folder`: the files of a run folder
- `plan`: `plan.toml`: the text, the length, and changes on the way
- `checkpoint`: checkpoints that are whole at every moment
- `weights`: weights and optimizer state to and from safetensors
- `run`: `Run` and `load`: generate, stream, evaluate
- `find`: finding runs, and the weights of a step
- `texts`: the text of a run, found again
- `custom_blocks`: checks for models with blocks of your own
- `adapters`: opening a run that was trained by adapters
- `eight_bits`: weights stored in 8 bits
"""
