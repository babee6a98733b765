"""The answers of the local Hub, call by call; `tests.support.hub_server` serves them."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import yaml
from huggingface_hub.utils.sha import git_hash

if TYPE_CHECKING:
    from tests.support.hub_server import Request

USER = "tester"
LFS_SUFFIXES = (".safetensors", ".onnx", ".parquet", ".png", ".bin", ".pkl")
PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}


@dataclass
class Repo:
    """A repository. `commits` maps a commit to its files, `refs` a branch or pull request to its commit."""

    kind: str
    repo_id: str
    private: bool = False
    gated: bool = False
    sdk: str | None = None
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    variables: dict[str, dict[str, str]] = field(default_factory=dict)

    def commit(self, ref: str, files: dict[str, bytes]) -> str:
        """Make a commit on top of a ref and move the ref."""
        digest = repr((self.kind, self.repo_id, self.refs, len(self.commits), sorted(files.items())))
        sha = hashlib.sha1(digest.encode(), usedforsecurity=False).hexdigest()
        self.commits[sha] = files
        self.refs[ref] = sha
        return sha

    @property
    def files(self) -> dict[str, bytes]:
        """Return the files of main."""
        return self.commits[self.refs["main"]]


@dataclass
class Reply(Exception):
    """An answer; raised for errors."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def error(cls, status: int, message: str, code: str | None = None) -> Reply:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        return cls(status, {"error": message}, headers)


def is_lfs(path: str) -> bool:
    """Tell whether the Hub keeps a file in LFS."""
    return path.endswith(LFS_SUFFIXES)


def describe(path: str, data: bytes) -> dict[str, Any]:
    """Describe a file as an entry of a tree."""
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": git_hash(data)}
    if is_lfs(path):
        sha = hashlib.sha256(data).hexdigest()
        entry |= {"oid": git_hash(sha.encode()), "lfs": {"oid": sha, "size": len(data), "pointerSize": 134}}
    return entry


ROUTES: list[tuple[str, str, Callable[..., Any]]] = []
API = r"/api/(?P<kind>model|dataset|space)s/(?P<repo_id>[^/]+/[^/]+)"
PLAIN = r"/(?P<prefix>datasets/|spaces/)?(?P<repo_id>[^/]+/[^/]+?)"


def route(methods: str, pattern: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        ROUTES.append((methods, pattern, function))
        return function

    return register


@route("GET", "/api/whoami-v2")
def whoami(request: Request) -> Any:
    if request.user() is None:
        raise Reply.error(401, "Invalid username or password.")
    return {"type": "user", "name": USER, "orgs": [], "auth": {"accessToken": {"role": "write"}}}


@route("POST", "/api/validate-yaml")
def validate_yaml(request: Request) -> Any:
    match = re.match(r"---\n(.*?)\n---", json.loads(request.body)["content"], re.DOTALL)
    try:
        valid = isinstance(yaml.safe_load(match[1]), dict) if match else False
    except yaml.YAMLError:
        valid = False
    errors = [] if valid else [{"message": "expected metadata in YAML"}]
    return Reply(200 if valid else 400, {"errors": errors, "warnings": []})


@route("POST", "/api/repos/create")
def create(request: Request) -> Any:
    request.user(write=True)
    wanted = json.loads(request.body)
    kind, repo_id = wanted.get("type") or "model", f"{wanted['organization'] or USER}/{wanted['name']}"
    url = {"url": f"{request.hub.endpoint}/{PREFIXES[kind]}{repo_id}"}
    if not repo_id.startswith(f"{USER}/"):
        raise Reply.error(403, f"You don't have the rights to create a {kind} under this namespace")
    if (kind, repo_id) in request.hub.repos:
        return Reply(409, {"error": "You already created this repo"} | url)
    repo = Repo(kind, repo_id, private=wanted.get("visibility") == "private", sdk=wanted.get("sdk"))
    repo.commit("main", {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
    request.hub.repos[kind, repo_id] = repo
    return url


@route("POST", f"{API}/(?P<what>branch|tag)/(?P<name>[^/]+)")
def create_ref(request: Request, kind: str, repo_id: str, what: str, name: str) -> Any:
    repo, wanted = request.repo(kind, repo_id, write=True), json.loads(request.body)
    refs, name, start = (repo.tags, wanted["tag"], name) if what == "tag" else (repo.refs, name, "main")
    if name in refs:
        raise Reply.error(409, f"{what} {name} exists already")
    refs[name] = request.find(repo, wanted.get("startingPoint") or start)
    return {}


@route("GET", f"{API}/refs")
def refs(request: Request, kind: str, repo_id: str) -> Any:
    repo = request.repo(kind, repo_id)

    def entries(names: dict[str, str], prefix: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": prefix + name, "targetCommit": sha} for name, sha in names.items()]

    pulls = {name: sha for name, sha in repo.refs.items() if name.startswith("refs/pr/")}
    branches = {name: sha for name, sha in repo.refs.items() if name not in pulls}
    return {
        "branches": entries(branches, "refs/heads/"),
        "tags": entries(repo.tags, "refs/tags/"),
        "pullRequests": entries(pulls, ""),
        "converts": [],
    }


@route("GET", f"{API}(/revision/(?P<rev>[^/]+))?")
def info(request: Request, kind: str, repo_id: str, rev: str) -> Any:
    repo = request.repo(kind, repo_id)
    sha = request.find(repo, rev or "main")
    now = "2026-01-01T00:00:00.000Z"
    return {
        **{
            "_id": "0",
            "id": repo_id,
            "author": repo_id.split("/")[0],
            "sha": sha,
            "private": repo.private,
            "disabled": False,
        },
        **{
            "gated": "auto" if repo.gated else False,
            "lastModified": now,
            "createdAt": now,
            "downloads": 0,
            "likes": 0,
        },
        **{"tags": [], "sdk": repo.sdk, "siblings": [{"rfilename": path} for path in repo.commits[sha]]},
    }


@route("GET", f"{API}/tree/(?P<rev>[^/]+)(/(?P<folder>.+))?")
def tree(request: Request, kind: str, repo_id: str, rev: str, folder: str) -> Any:
    repo = request.repo(kind, repo_id)
    files = repo.commits[request.find(repo, rev)]
    prefix = f"{folder}/" if folder else ""
    inside = {path: data for path, data in files.items() if path.startswith(prefix)}
    if not inside:
        raise Reply.error(404, f"{folder} does not exist", "EntryNotFound")
    parts = [path.split("/")[:-1] for path in inside]
    folders = {"/".join(names[: depth + 1]) for names in parts for depth in range(len(names))}
    entries = [{"type": "directory", "path": path, "oid": git_hash(path.encode())} for path in sorted(folders)]
    entries = [entry for entry in entries if len(entry["path"]) > len(folder)]
    entries += [describe(path, data) for path, data in inside.items()]
    if request.query.get("recursive", ["false"])[0].lower() != "true":
        entries = [entry for entry in entries if "/" not in entry["path"].removeprefix(prefix)]
    return entries


@route("POST", f"{API}/paths-info/(?P<rev>[^/]+)")
def paths_info(request: Request, kind: str, repo_id: str, rev: str) -> Any:
    repo = request.repo(kind, repo_id)
    files = repo.commits[request.find(repo, rev)]
    answer = []
    for path in parse_qs(request.body.decode())["paths"]:
        if path in files:
            answer.append(describe(path, files[path]))
        elif any(name.startswith(f"{path}/") for name in files):
            answer.append({"type": "directory", "path": path, "oid": git_hash(path.encode())})
    return answer


@route("GET POST", "/api/(?P<kind>space)s/(?P<repo_id>[^/]+/[^/]+)/variables")
def variables(request: Request, kind: str, repo_id: str) -> Any:
    repo = request.repo(kind, repo_id, write=True)
    if request.command == "POST":
        repo.variables[json.loads(request.body)["key"]] = {"value": json.loads(request.body)["value"]}
    return repo.variables


@route("POST", f"{API}/preupload/(?P<rev>[^/]+)")
def preupload(request: Request, kind: str, repo_id: str, rev: str) -> Any:
    repo = request.repo(kind, repo_id, write=True)
    files = repo.commits[request.find(repo, rev)]
    answer = []
    for file in json.loads(request.body)["files"]:
        path = file["path"]
        entry = describe(path, files[path]) if path in files else {}
        oid = entry.get("lfs", entry).get("oid")
        mode = "lfs" if is_lfs(path) else "regular"
        answer.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return {"files": answer}


@route("POST", f"{PLAIN}\\.git/info/lfs/objects/batch")
def lfs_batch(request: Request, prefix: str, repo_id: str) -> Any:
    request.repo(prefix.rstrip("s/") or "model", repo_id, write=True)
    objects = []
    for wanted in json.loads(request.body)["objects"]:
        entry = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in request.hub.lfs:
            href = f"{request.hub.endpoint}/lfs/{wanted['oid']}"
            entry["actions"] = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
        objects.append(entry)
    return {"transfer": "basic", "objects": objects}


@route("PUT", "/lfs/(?P<sha>[0-9a-f]{64})")
def lfs_put(request: Request, sha: str) -> Any:
    if hashlib.sha256(request.body).hexdigest() != sha:
        raise Reply.error(400, "the content does not have the announced checksum")
    request.hub.lfs[sha] = request.body
    return {}


@route("POST", "/lfs/(?P<sha>[0-9a-f]{64})/verify")
def lfs_verify(request: Request, sha: str) -> Any:
    if len(request.hub.lfs.get(sha, b"")) != json.loads(request.body)["size"]:
        raise Reply.error(404, "the object is not here, or not whole")
    return {}


@route("GET HEAD", "/lfs/(?P<sha>[0-9a-f]{64})")
def lfs_get(request: Request, sha: str) -> Any:
    return Reply(body=request.hub.lfs[sha], headers={"ETag": f'"{sha}"'})


@route("POST", f"{API}/commit/(?P<rev>[^/]+)")
def commit(request: Request, kind: str, repo_id: str, rev: str) -> Any:
    repo = request.repo(kind, repo_id, write=True)
    if rev not in repo.refs:
        raise Reply.error(404, f"Invalid rev id: {rev}", "RevisionNotFound")
    lines = [json.loads(line) for line in request.body.splitlines()]
    files = dict(repo.commits[repo.refs[rev]])
    for line in lines:
        value = line["value"]
        match line["key"]:
            case "header":
                if value.get("parentCommit", repo.refs[rev]) != repo.refs[rev]:
                    raise Reply.error(412, "A commit has happened since. Please refresh and try again.")
            case "file":
                files[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile":
                if value["oid"] not in request.hub.lfs:
                    raise Reply.error(400, f"the LFS object of {value['path']} was never uploaded")
                files[value["path"]] = request.hub.lfs[value["oid"]]
            case "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise Reply.error(404, "A file with this name doesn't exist", "EntryNotFound")
    pull = None
    if "create_pr" in request.query:
        number = next(n for n in itertools.count(1) if f"refs/pr/{n}" not in repo.refs)
        rev, pull = f"refs/pr/{number}", f"{request.hub.endpoint}/{PREFIXES[kind]}{repo_id}/discussions/{number}"
    sha = repo.commit(rev, files)
    url = f"{request.hub.endpoint}/{PREFIXES[kind]}{repo_id}/commit/{sha}"
    return {"success": True, "commitUrl": url, "commitOid": sha, "pullRequestUrl": pull, "hookOutput": ""}


@route("GET HEAD", f"{PLAIN}/resolve/(?P<rev>[^/]+)/(?P<path>.+)")
def resolve(request: Request, prefix: str, repo_id: str, rev: str, path: str) -> Any:
    repo = request.repo(prefix.rstrip("s/") or "model", repo_id, content=True)
    sha = request.find(repo, rev)
    if path not in repo.commits[sha]:
        error = Reply.error(404, "Entry not found", "EntryNotFound")
        error.headers["X-Repo-Commit"] = sha
        raise error
    data = repo.commits[sha][path]
    entry = describe(path, data)
    if "lfs" not in entry:
        return Reply(body=data, headers={"ETag": f'"{entry["oid"]}"', "X-Repo-Commit": sha})
    oid = entry["lfs"]["oid"]
    request.hub.lfs[oid] = data
    linked = {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{oid}"', "X-Repo-Commit": sha}
    cdn = request.hub.endpoint.replace("127.0.0.1", "localhost")  # another host, which clients do not follow for HEAD
    return Reply(302, b"", linked | {"Location": f"{cdn}/lfs/{oid}"})
