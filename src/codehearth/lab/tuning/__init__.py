"""Fine-tuning: data, plan, a trainer's job on disk, and what becomes of its result.

`tune` is the order in which things happen. The trainer itself is `workers.tuning`, a child in an
environment of its own.
"""
