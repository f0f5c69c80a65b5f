"""Whether code does what its tests say, found by running both in the sandbox.

A pass is believed only where the verdict carries a secret that the code cannot have: see
`inside/check.py`. Where tasks are judged by cases (`cases.py`), what is right never enters the
sandbox at all.
"""
