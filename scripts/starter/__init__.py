"""The starter model: its data, its training, its export and its measures, one idea a module.

`corpus` and `tasks` are what it learns from, `tokenizer` and `windows` turn text into rows,
`network` and `training` make the weights, `export` writes them, `generation` and `measure`
ask what they can do, and `card` writes it down. Nothing here is imported by the product.
"""
