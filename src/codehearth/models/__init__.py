"""Models: what can be run here, where it lies on disk, and whether it fits."""
