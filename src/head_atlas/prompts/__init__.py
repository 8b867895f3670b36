"""Prompts: words, templates, families and the token policy. Nothing here needs a model."""
