"""The routes of the makers' APIs, one file each; each is a translation and nothing more."""
