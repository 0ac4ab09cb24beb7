"""A GPT in ten sections: run `python -m course.s01_bigram`, read it, go on; `python -m course` climbs all ten.

Each section is at once a script, a module to import, and the source of a notebook (percent format). It adds one idea
and imports the rest from the sections before it. `course.console` holds what is no lesson: progress and pictures;
`course.flags` the command line.
"""
