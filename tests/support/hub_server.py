"""A Hub on loopback for the tests: the protocol as `huggingface_hub` speaks it where Xet is switched off.

    with HubServer() as hub:
        hub.faults.append(Fault("PUT /lfs/", cut=True))
        ...  # a client with HF_ENDPOINT=hub.endpoint, HF_TOKEN=hub.token, HF_HUB_DISABLE_XET=1

Covered: whoami, create repo, branches, tags, refs, repo info, tree, paths-info, validate-yaml, preupload, LFS batch
with single-part upload and verify, commit (regular and LFS files, deletions, parent commit, pull requests), resolve
(HEAD, GET, etag, redirect of LFS files, range), Space variables, private and gated repositories. Not covered: Xet,
multi-part LFS, discussions, gitignore, copies between repositories, listing and search.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.hub_api import ROUTES, USER, Reply, Repo


@dataclass
class Fault:
    """A fault of the next requests that match.

    Attributes:
        request: regular expression, searched for in "METHOD /path".
        status: answer with this status instead.
        headers: of that answer.
        cut: break the connection in the middle of the body, the client's if it sends one, else the server's.
        corrupt: send a body of the right length with other bytes.
        times: how many requests it affects.
    """

    request: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    corrupt: bool = False
    times: int = 1


class HubServer:
    """The server and its repositories.

    Attributes:
        endpoint: what HF_ENDPOINT has to be.
        token: may read and write; `read_token` only reads, any other is refused.
        repos: by (kind, id), such as ("model", "tester/faces").
        requests: "METHOD /path" of every request so far.
        faults: what goes wrong; a fault is removed after its last time.
    """

    token = "token-that-writes"  # noqa: S105
    read_token = "token-that-reads"  # noqa: S105

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Request,), {"hub": self}))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, pattern: str) -> int:
        """Count the requests that match."""
        return sum(bool(re.search(pattern, request)) for request in self.requests)

    def strike(self, request: str) -> Fault:
        """Return the fault of this request; a harmless one if none."""
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                if re.search(fault.request, request):
                    fault.times -= 1
                    if not fault.times:
                        self.faults.remove(fault)
                    return fault
        return Fault("")


class _Cut(Exception):
    """The connection is broken on purpose."""


class Request(BaseHTTPRequestHandler):
    """One request: `hub`, `command`, `query` and `body`, and what the answers need to know about them."""

    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.fault = self.hub.strike(f"{self.command} {url.path}")
        try:
            try:
                self.body = self._read()
                if self.fault.status:
                    raise Reply(self.fault.status, {"error": "as the test wishes"}, self.fault.headers)
                reply = self._route(url.path)
            except Reply as error:
                reply = error
            self._send(reply)
        except _Cut:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
                if self.fault.cut:
                    raise _Cut
            self.rfile.readline()
            return b"".join(parts)
        size = int(self.headers.get("Content-Length") or 0)
        if size and self.fault.cut:
            self.rfile.read(size // 2)
            raise _Cut
        return self.rfile.read(size)

    def _route(self, path: str) -> Reply:
        for methods, pattern, function in ROUTES:
            if self.command in methods.split() and (match := re.fullmatch(pattern, path)):
                groups = {name: unquote(value) for name, value in match.groupdict(default="").items()}
                with self.hub.lock:
                    answer = function(self, **groups)
                return answer if isinstance(answer, Reply) else Reply(body=answer)
        raise Reply.error(404, f"this Hub knows no {self.command} {path}")

    def _send(self, reply: Reply) -> None:
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        status, headers = reply.status, reply.headers | {"Accept-Ranges": "bytes"}
        if status == 200 and (wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")):
            first, last = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            status, data = (206, data[first : last + 1]) if first < len(data) else (416, b"")
        if self.fault.corrupt:
            data = bytes(byte ^ 0x55 for byte in data)
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(data[: len(data) // 2] if self.fault.cut else data)
        if self.fault.cut:
            self.wfile.flush()
            raise _Cut

    def user(self, write: bool = False) -> str | None:
        """Return who asks, None without a token."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in (self.hub.token, self.hub.read_token):
            raise Reply.error(401, "Invalid credentials in Authorization header")
        if write and not token:
            raise Reply.error(401, "Invalid username or password.")
        if write and token != self.hub.token:
            raise Reply.error(403, "You don't have the rights to create or change this repository")
        return USER if token else None

    def repo(self, kind: str, repo_id: str, *, write: bool = False, content: bool = False) -> Repo:
        user = self.user(write)
        repo = self.hub.repos.get((kind, repo_id))
        if repo is None or (repo.private and not user):
            raise Reply.error(404 if user else 401, "Repository not found", "RepoNotFound")
        if repo.gated and content:
            raise Reply.error(403 if user else 401, "Access to this repository is restricted.", "GatedRepo")
        return repo

    def find(self, repo: Repo, rev: str) -> str:
        sha = repo.refs.get(rev) or repo.tags.get(rev) or (rev if rev in repo.commits else None)
        if sha is None:
            raise Reply.error(404, f"Invalid rev id: {rev}", "RevisionNotFound")
        return sha
