"""From minutes, a text and a machine to a plan.

- `planner`: chooses the size, and describes the training
- `forecast`: the loss to expect, by a scaling law
- `budget`: the speed of each size, and steps, evaluations and compiling within the time
- `memory`: estimated and available memory
"""
