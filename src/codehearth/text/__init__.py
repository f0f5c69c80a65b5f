"""Strings in, strings out: prompts, languages, where a completion ends. Nothing here does I/O."""
