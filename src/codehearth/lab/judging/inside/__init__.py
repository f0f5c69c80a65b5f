"""Programs that run inside the sandbox; the standard library only, nothing of the house."""
