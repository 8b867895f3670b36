"""What the build tests build."""

from __future__ import annotations

from head_atlas.build import BuildOptions

OPTIONS = BuildOptions(
    families=["rand_repeat", "rand_flat", "natural", "sink_probe", "syntax", "ioi", "pronoun"],
    n_prompts=6,
    natural_length=40,
    threads=1,
)
SMALL = BuildOptions(families=["ioi"], n_prompts=2, modes=("zero",), measures=(), natural_length=40, threads=1)


def silent(_):
    pass
