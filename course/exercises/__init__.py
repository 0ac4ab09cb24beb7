"""The course's exercises, two to four per section; `python -m course.check` lists them and checks answers.

- `base`: the data classes, how checks run, prediction exercises, short trainings
- `e01_bigram` to `e10_gpt`: each section's exercises with task, stub and checks
- `shared_checks`: checks of shapes, numbers, causality and gradients
- `attention`: attention with its common mistakes
- `errors`: explanations of tracebacks
- `runner`: starts the process that checks a file, with a time limit
- `worker`: that process
- `solutions`: an answer to each exercise, as a learner would write it
"""
