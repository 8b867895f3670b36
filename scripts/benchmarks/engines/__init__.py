"""One way each to the same numbers. Every module has `load(folder) -> run`, and needs only its own environment.

For the sweep, `run(prompts, heads, keep)` removes each of `heads` alone from all prompts and returns the logits at
the prompts' last tokens, [keep, prompt, d_vocab], for those in `keep`.
"""
