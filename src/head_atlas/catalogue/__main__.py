"""`python -m head_atlas.catalogue > docs/measures.md`."""

from head_atlas.catalogue.reference import markdown

print(markdown(), end="")
