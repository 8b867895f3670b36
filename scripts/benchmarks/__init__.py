"""Head Atlas against other ways to the same numbers: what `scripts/bench.py` runs."""
