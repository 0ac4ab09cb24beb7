"""A GPT in ten sections: run `python -m course.s01_bigram`, read it, go on; `python -m course` runs all ten.

Each section is a script, a module to import, and the source of a notebook (percent format). It adds one idea and
imports the rest from the sections before it.

- `s01_bigram` to `s10_gpt`: the sections
- `exercises`: what to write yourself, and the checks
- `check`: `python -m course.check`, which runs the checks on a file
- `console`: progress, JSON lines and pictures
- `flags`: the command line of the sections
"""
