"""Checkpoints with fastllm: its library computes, the transformers worker's routes answer."""
