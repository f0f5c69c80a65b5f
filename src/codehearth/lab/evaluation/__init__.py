"""How often a model's code does what it should: tasks, answers, pass@k, failures by kind.

`evaluate.py` has the one function that others call.
"""
