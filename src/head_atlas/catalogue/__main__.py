"""`python -m head_atlas.catalogue > docs/measures.md`, and with `references` docs/references.md."""

import sys

from head_atlas.catalogue.reference import markdown
from head_atlas.catalogue.reference_list import references_markdown

PAGES = {"measures": markdown, "references": references_markdown}

if __name__ == "__main__":
    page = sys.argv[1] if len(sys.argv) > 1 else "measures"
    if page not in PAGES:
        sys.exit(f"{page!r} is no page; pages are {', '.join(PAGES)}")
    print(PAGES[page](), end="")
