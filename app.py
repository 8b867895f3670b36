"""Start Head Atlas: `python app.py`. HOST, PORT and MODEL can be set in the environment."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
try:
    import head_atlas.app.server as server
except ModuleNotFoundError:
    # A Space installs the requirements but not the package itself.
    sys.path.insert(0, str(ROOT / "src"))
    import head_atlas.app.server as server

if __name__ == "__main__":
    server.serve()
