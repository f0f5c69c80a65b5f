"""The command line: parse, call one function, print. The only room that ends the process.

One file a verb or group of verbs; `group.py` lists them. What is heavy (HTTP, the gateway, hubs,
rich) is imported inside the functions that need it, so that `hearth --help` is quick.
"""

from codehearth.cli.entry import main

__all__ = ["main"]
