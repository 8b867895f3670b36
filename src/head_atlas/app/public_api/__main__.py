"""Write the reference of the public calls: `python -m head_atlas.app.public_api > docs/api.md`."""

from head_atlas.app.public_api import markdown

print(markdown(), end="")
