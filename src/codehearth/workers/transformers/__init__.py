"""Serves one Hugging Face checkpoint with PyTorch: a child of the house in a Python of its own.

The base install is not on that Python's path: everything here needs the standard library, torch
and transformers, and nothing of the house. One thread computes (`loop`), one talks (`listener`,
`routes`); what they say to one another are a `Job` and its pieces.

Why not transformers' own server or its continuous batching: docs/decisions/transformers-worker.md.
"""
