"""Serves one Hugging Face checkpoint with PyTorch: a child of the house in a Python of its own.

The base install is not on that Python's path: everything here needs the standard library, torch
and transformers, and nothing of the house. One thread computes (`loop`), one talks (`listener`,
`routes`); what they say to one another are a `Job` and its pieces.

Why not transformers' own server and its continuous batching (release 5.23): the server has no
completions, and the batching draws from one seed for all requests, gives no log-probabilities of
the alternatives or of a prompt, and knows only architectures whose attention is exchangeable, which
the old ones (CodeGen) are not.
"""
