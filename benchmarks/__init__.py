"""Measurements of Nano-GPT: the command of every published figure; what it measured is kept in `records/`.

Speed and memory: `time_to_loss`, `throughput`, `generate`, `profile_step`, `scaling`, `startup`, `memory`,
`large_text`, `serving` and `studio` (the server and the studio), `html_page`, `compare_speed` (an older version).

Losses: `ladder` (the course), `loss_in_minutes`, `cpu_recipe`, `floors` (without a network), `losses` (with samples),
`fine_tuning`, `answers` (questions and answers).

Choices: `sweep` (a grid of settings), `ablation` (parts of the recipe), `tried` with `ideas`, `forecast` (the planner's
law); `trials` trains for them.

Equality: `same_bytes` (an older version), `kills` (resumed runs), `llama_cpp` (exports), `mutants` (the tests).

Pages and files: `tables`, `pictures`, `screenshots`, `starter` (the model that comes with the package), `house` (the
code's size).

Shared: `record`, `processes`, `pairs`, `karpathy_nanogpt` with `karpathy_script` (a checkout of nanoGPT).
"""
