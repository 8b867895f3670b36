"""A hub on this machine: what `huggingface_hub` asks of the real one to find, download and publish repositories."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Answer = tuple[int, dict[str, str], bytes]

_API = re.compile(r"/api/(models|datasets)/([\w.-]+/[\w.-]+)(?:/(revision|tree|refs|preupload|commit|tag)(?:/(.*))?)?")
_RESOLVE = re.compile(r"/(datasets/)?([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)")
_LARGE = (".h5", ".safetensors")


@dataclass
class Repository:
    """Commits and what points at them.

    Attributes:
        commits: files by name, by commit.
        branches: commits by name; so `tags`.
        gated: whether reading needs what nobody here has.
        writers: tokens that may write.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    writers: set[str] = field(default_factory=set)

    def commit(self, files: dict[str, bytes], sha: str | None = None) -> str:
        """Put files on top of what is there, and move `main`."""
        all_files = self.commits.get(self.branches.get("main", ""), {}) | files
        parts = [f"{name} {hashlib.sha256(body).hexdigest()}" for name, body in sorted(all_files.items())]
        sha = sha or hashlib.sha1("\n".join([str(len(self.commits)), *parts]).encode()).hexdigest()
        self.commits[sha] = all_files
        self.branches["main"] = sha
        return sha

    def find(self, revision: str) -> str | None:
        """The commit that a revision means."""
        named = self.tags | self.branches
        return named.get(revision, revision if revision in self.commits else None)


class Hub:
    """Repositories by kind and name, and what may go wrong.

    Attributes:
        repositories: by "models/owner/name" or "datasets/owner/name".
        tokens: that the hub knows; others are refused.
        sent: names of the files whose content was asked for.
        asked: method and path of every request.
        cut: by file name, after how many bytes each of the next downloads breaks off.
        held: by file name, what must happen before the second half of its bytes is sent.
        flipped: names of files of which one bit arrives wrong.
        refused: by the start of "METHOD /path", the status that is answered.
        meanwhile: by the same, what happens once just before.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.tokens: set[str] = set()
        self.sent: list[str] = []
        self.asked: list[str] = []
        self.cut: dict[str, list[int]] = {}
        self.held: dict[str, threading.Event] = {}
        self.flipped: set[str] = set()
        self.refused: dict[str, int] = {}
        self.meanwhile: dict[str, Callable[[], object]] = {}
        self.large: dict[str, bytes] = {}
        self.address = ""

    def add(self, kind: str, name: str, files: dict[str, bytes] | Path, sha: str | None = None) -> Repository:
        """Add a repository with one commit."""
        if isinstance(files, Path):
            files = {path.name: path.read_bytes() for path in files.iterdir()}
        repository = self.repositories[f"{kind}/{name}"] = Repository(writers=set(self.tokens))
        repository.commit(files, sha)
        return repository

    def answer(self, method: str, path: str, token: str, body: bytes) -> Answer:
        """Status, headers and body; those of HEAD are those of GET."""
        path = path.partition("?")[0]
        self.asked.append(f"{method} {path}")
        for start in [start for start in self.meanwhile if f"{method} {path}".startswith(start)]:
            self.meanwhile.pop(start)()
        for start, status in self.refused.items():
            if f"{method} {path}".startswith(start):
                return _refusal(status, "", "refused")
        if token and token not in self.tokens:
            return _refusal(401, "", "Invalid credentials in Authorization header")
        if method == "PUT" and path.startswith("/upload/"):
            self.large[path.removeprefix("/upload/")] = body
            return 200, {}, b""
        if path == "/api/validate-yaml":
            return _validated(json.loads(body)["content"])
        if path == "/api/repos/create":
            return self._create(json.loads(body), token)
        if path.endswith("/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        if path == "/verify":
            asked = json.loads(body)
            held = self.large.get(asked["oid"])
            right = held is not None and (hashlib.sha256(held).hexdigest(), len(held)) == (asked["oid"], asked["size"])
            return (200, {}, b"{}") if right else _refusal(422, "", "not what was announced")
        if found := _RESOLVE.fullmatch(path):
            return self._file("datasets" if found[1] else "models", found[2], unquote(found[3]), unquote(found[4]))
        if found := _API.fullmatch(path):
            return self._api(found[1], found[2], found[3] or "revision", unquote(found[4] or "main"), token, body)
        return _refusal(404, "", "no such page")

    def _repository(self, kind: str, name: str) -> Repository | Answer:
        repository = self.repositories.get(f"{kind}/{name}")
        if repository is None:
            return _refusal(401, "RepoNotFound", "no such repository")
        return _refusal(403, "GatedRepo", "gated") if repository.gated else repository

    def _file(self, kind: str, name: str, revision: str, file: str) -> Answer:
        repository = self._repository(kind, name)
        if not isinstance(repository, Repository):
            return repository
        sha = repository.find(revision)
        if sha is None:
            return _refusal(404, "RevisionNotFound", "no such revision")
        if file not in repository.commits[sha]:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha}, b"{}"
        body = repository.commits[sha][file]
        tag = hashlib.sha256(body).hexdigest()
        linked = {"X-Linked-Size": str(len(body)), "X-Linked-Etag": f'"{tag}"'}
        return 200, {"ETag": f'"{tag}"', "X-Repo-Commit": sha, **linked}, body

    def _api(self, kind: str, name: str, what: str, revision: str, token: str, body: bytes) -> Answer:
        repository = self._repository(kind, name)
        if not isinstance(repository, Repository):
            return repository
        if what == "refs":
            refs = {
                key: [{"name": n, "ref": f"refs/{key}/{n}", "targetCommit": sha} for n, sha in named.items()]
                for key, named in (("branches", repository.branches), ("tags", repository.tags))
            }
            return _json({**refs, "converts": []})
        if what in ("preupload", "commit", "tag") and token not in repository.writers:
            return _refusal(403, "", "you may not write here") if token else _refusal(401, "", "log in")
        sha = repository.find(revision)
        if sha is None:
            return _refusal(404, "RevisionNotFound", "no such revision")
        if what == "preupload":
            return _json({"files": [_mode(file["path"]) for file in json.loads(body)["files"]]})
        if what == "commit":
            return self._commit(repository, name, revision, body)
        if what == "tag":
            tag = json.loads(body)["tag"]
            if tag in repository.tags:
                return _refusal(409, "", "Reference already exists")
            repository.tags[tag] = sha
            return _json({})
        files = sorted(repository.commits[sha].items())
        if what == "tree":
            return _json([{"type": "file", "path": n, "size": len(b), "oid": _git_oid(b)} for n, b in files])
        return _json({"id": name, "sha": sha, "siblings": [_sibling(n, b) for n, b in files]})

    def _create(self, asked: dict, token: str) -> Answer:
        kind, name = f"{asked.get('type', 'model')}s", f"{asked['organization']}/{asked['name']}"
        if not token:
            return _refusal(401, "", "log in")
        if f"{kind}/{name}" in self.repositories:
            return 409, {}, json.dumps({"url": f"{self.address}/{kind}/{name}"}).encode()
        self.add(kind, name, {".gitattributes": b"*.h5 filter=lfs\n"}).writers = {token}
        return _json({"url": f"{self.address}/{kind}/{name}", "name": name})

    def _batch(self, asked: dict) -> Answer:
        objects = []
        for one in asked["objects"]:
            actions = {
                "upload": {"href": f"{self.address}/upload/{one['oid']}"},
                "verify": {"href": f"{self.address}/verify"},
            }
            objects.append({**one, **({} if one["oid"] in self.large else {"actions": actions})})
        return _json({"transfer": "basic", "objects": objects})

    def _commit(self, repository: Repository, name: str, branch: str, body: bytes) -> Answer:
        header, *operations = [json.loads(line) for line in body.splitlines()]
        parent = header["value"].get("parentCommit")
        if parent is not None and parent != repository.branches[branch]:
            return _refusal(412, "", "A commit has happened since")
        files = {}
        for operation in operations:
            value = operation["value"]
            large = operation["key"] == "lfsFile"
            files[value["path"]] = self.large[value["oid"]] if large else base64.b64decode(value["content"])
        sha = repository.commit(files)
        return _json({"commitUrl": f"{self.address}/datasets/{name}/commit/{sha}", "commitOid": sha})


def _json(value: object) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _refusal(status: int, code: str, message: str) -> Answer:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return status, headers, json.dumps({"error": message}).encode()


def _validated(card: str) -> Answer:
    import yaml

    try:
        yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1])
    except (yaml.YAMLError, TypeError) as error:
        return 400, {}, json.dumps({"errors": [{"message": str(error)}], "warnings": []}).encode()
    return _json({"errors": [], "warnings": []})


def _mode(path: str) -> dict:
    return {"path": path, "uploadMode": "lfs" if path.endswith(_LARGE) else "regular", "shouldIgnore": False}


def _sibling(name: str, body: bytes) -> dict:
    found = {"rfilename": name, "size": len(body), "blobId": _git_oid(body)}
    if name.endswith(_LARGE):
        found["lfs"] = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 134}
    return found


def _git_oid(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def _reply(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, content = self.hub.answer(self.command, self.path, token, body)
        name = self.path.partition("?")[0].rsplit("/", 1)[-1]
        stop = held = None
        if self.command == "GET" and status == 200 and "/resolve/" in self.path:
            self.hub.sent.append(name)
            if name in self.hub.flipped:
                content = content[:-1] + bytes([content[-1] ^ 1])
            if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
                start = int(found[1])
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                status, content = 206, content[start:]
            stop = self.hub.cut[name].pop(0) if self.hub.cut.get(name) else None
            held = self.hub.held.get(name)
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if held is not None:
            half = len(content) // 2
            self.wfile.write(content[:half])
            content = content[half:]
            held.wait(60)
        if self.command != "HEAD":
            with suppress(ConnectionError):  # the client may be gone
                self.wfile.write(content[:stop])
        self.close_connection = True

    do_HEAD = do_GET = do_POST = do_PUT = _reply

    def log_message(self, *_: object) -> None:
        pass


def point_client_at(monkeypatch: Any, address: str, cache: Path) -> None:
    """What `HF_ENDPOINT`, `HF_HUB_CACHE` and `HF_HUB_DISABLE_XET` do to a client that is not imported yet."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))


@contextmanager
def serving() -> Iterator[Hub]:
    """Run an empty hub on a free port of this machine; its `address` says where."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
