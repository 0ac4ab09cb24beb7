"""What a training reports, and who shows it.

- `events`: one class for each thing that happens
- `terminal`: progress bar and lines on standard error
- `trackers`: TensorBoard and Weights & Biases
- `plots`: curves of finished and running trainings, as pictures or text
"""
