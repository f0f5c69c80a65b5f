"""Repositories: the code of a folder, cut into chunks, indexed, and found again by its words."""
