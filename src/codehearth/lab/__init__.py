"""Long jobs on models: quantise, measure, report, advise.

A job is `run(...) -> frozen result`; the result writes its own JSON. What computes with llama.cpp's
library runs in children (`quantizer.py`, `scorer.py`), so that a crash or a leak takes one of them.
"""
