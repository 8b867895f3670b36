"""Shared by all folders: its presence puts tests/ on the path, so that `tiny_models` can be imported anywhere."""
