"""The trainer: a program that runs in the environment `tuning` and imports nothing of the house.

`program` reads the job, `parent` is what it says to the command that started it, `rows` makes
tokens of examples, `training` trains an adapter, `merging` writes the merged checkpoint, `probing`
says what a model answers, for the comparison with other forms of it.
"""
