"""A model hub of a few dozen lines: what `huggingface_hub` asks of the real one to download a model."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHA = "c0ffee" + "0" * 34


class Hub:
    """Serves one folder as `tiny/model`, a gated `tiny/gated`, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent: list[str] = []

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a GET; HEAD drops the body."""
        path, _, _ = path.partition("?")
        if path.startswith("/api/models/tiny/gated"):
            return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"}, b"{}"
        if not path.startswith(("/api/models/tiny/model", "/tiny/model/resolve/")):
            return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no such repository"}, b"{}"
        if path in ("/api/models/tiny/model", *(f"/api/models/tiny/model/revision/{r}" for r in ("main", SHA))):
            files = [{"rfilename": p.name, "size": p.stat().st_size} for p in sorted(self.folder.iterdir())]
            return 200, {}, json.dumps({"id": "tiny/model", "sha": SHA, "siblings": files}).encode()
        if path == f"/api/models/tiny/model/tree/{SHA}":
            tree = [
                {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0" * 40}
                for p in sorted(self.folder.iterdir())
            ]
            return 200, {}, json.dumps(tree).encode()
        file = self.folder / path.rsplit("/", 1)[-1]
        if path == f"/tiny/model/resolve/{SHA}/{file.name}" and file.is_file():
            body = file.read_bytes()
            return 200, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": SHA}, body
        return 404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "no such revision"}, b"{}"


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Hub, str]]:
    """Run the hub on a free port; yields it and its address."""
    hub = Hub(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._reply(with_body=False)

        def do_GET(self) -> None:
            hub.sent.append(self.path.partition("?")[0].rsplit("/", 1)[-1])
            self._reply(with_body=True)

        def _reply(self, *, with_body: bool) -> None:
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
