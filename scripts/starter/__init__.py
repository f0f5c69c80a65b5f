"""The starter model: its data, its training, its export and its measures, one idea a module.

`corpus` and `tasks` are what it learns from, `tokenizer`, `middles` and `windows` turn text into
rows, `network` and `training` make the weights, `export` writes them, `generation`, `infilling` and
`measure` ask what they can do, and `card` writes it down. The product imports nothing of it.
"""
