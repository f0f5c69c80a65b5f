"""How to start each engine; never the engine itself."""
