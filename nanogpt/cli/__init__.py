"""The command line, a thin layer over the library.

- `main`: the command `nanogpt`, its list of subcommands, exit codes
- `arguments`: flags from dataclasses, and options that several commands share
- `train`, `plan`, `sample`, `eval`, `info`, `data`, `runs`, `export`, `import_`, `verify`, `studio`, `serve`, `plot`,
  `doctor`, `completion`: a subcommand each; the module's docstring is the text of its help
"""
