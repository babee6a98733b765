"""Make a repository on the Hub hold exactly some files: one commit, and only what changed is uploaded.

`HfApi.upload_folder(delete_patterns="*")` does not do. Over Xet, the default, it makes several commits where an upload
takes more than five minutes, has more than 250 files or a commit fails, and a broken one leaves the repository half
old. It cannot tell beforehand what it would change, which a dry run and the refusal to change a published version
need, and it takes files only, while the card names the repository it goes to. An unchanged package costs it 4 writing
requests, and 3 reading ones here. So `create_commit` makes the one commit, and what stays here is the comparison.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.errors import HubConnectionError, PublishError
from training.files import sha256_of

ROOT = Path(__file__).parents[2]
KEPT = ".gitattributes"  # the Hub's own

Files = Mapping[str, Path | bytes]


@dataclass(frozen=True)
class Published:
    """The state of a repository after `push`.

    Attributes:
        commit: full hash; None in a dry run that would change something.
        changed: paths that were (in a dry run: would be) uploaded.
        deleted: likewise, deleted.
        url: of the commit, the pull request, or the repository.
        asked: False after a dry run without a connection; `changed` then lists every file.
    """

    commit: str | None
    changed: list[str]
    deleted: list[str]
    url: str
    asked: bool = True


@dataclass(frozen=True)
class _Remote:
    """The content of a repository on the Hub; empty where there is no such repository."""

    private: bool | None = None
    branches: Mapping[str, str] = field(default_factory=dict)  # name -> commit
    tags: Mapping[str, str] = field(default_factory=dict)
    head: str | None = None
    files: Mapping[str, Any] = field(default_factory=dict)  # path -> huggingface_hub.RepoFile


def push(
    repo_id: str,
    files: Files,
    *,
    message: str,
    repo_type: str = "model",
    space_sdk: str = "gradio",
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    tag: str | None = None,
    variables: Mapping[str, str] | None = None,
    dry_run: bool = False,
) -> Published:
    """Make a repository hold exactly these files, in one commit; do nothing where it does already.

    Args:
        repo_id: "user/name"; created if need be.
        files: path in the repository -> local file or content.
        message: of the commit.
        repo_type: "model", "dataset" or "space".
        space_sdk: of a Space that is created: "gradio" or "static".
        private: create it as private; an existing public repository is refused.
        revision: branch; created from main if it does not exist.
        create_pr: open a pull request against main instead of committing to it.
        tag: set on the commit, not on a pull request.
        variables: of a Space, set before its files change.
        dry_run: compare only; without a connection, not even that.

    Raises:
        PublishError: the Hub or a check refused.
        HubConnectionError: the connection broke.
    """
    from huggingface_hub import HfApi, get_token

    if create_pr and revision:
        raise PublishError("expected --create_pr or --revision, got both; a pull request is against main")
    if not dry_run and get_token() is None:
        raise PublishError("expected a token of the Hub, found none: set HF_TOKEN or log in with `hf auth login`")
    api = HfApi()
    repo: dict[str, Any] = {"repo_id": repo_id, "repo_type": repo_type}
    url = f"{api.endpoint}/{'' if repo_type == 'model' else f'{repo_type}s/'}{repo_id}"
    try:
        with translate_hub_errors(repo_id):
            remote = _look_up(api, repo, revision or "main")
    except HubConnectionError:
        if not dry_run:
            raise
        return Published(None, sorted(files), [], url, asked=False)
    changed = sorted(path for path, source in files.items() if not _same(source, remote.files.get(path)))
    deleted = sorted(remote.files.keys() - files.keys() - {KEPT})
    tag = None if create_pr else tag
    _check_remote(repo_id, remote, changed + deleted, private=private, tag=tag)
    if dry_run:
        return Published(None if changed or deleted else remote.head, changed, deleted, url)
    with translate_hub_errors(repo_id):
        sdk = space_sdk if repo_type == "space" else None
        _prepare(api, repo, remote, private=private, sdk=sdk, branch=revision, variables=variables or {})
        commit = remote.head
        if changed or deleted:
            operations = _operations({path: files[path] for path in changed}, deleted)
            done = api.create_commit(
                **repo,
                operations=operations,
                commit_message=message,
                revision=revision,
                create_pr=create_pr,
                parent_commit=commit,  # whoever commits in between is not overwritten
            )
            commit, url = done.oid, done.pr_url or done.commit_url
        if tag and tag not in remote.tags:
            api.create_tag(**repo, tag=tag, revision=commit)
    return Published(commit, changed, deleted, url)


@contextmanager
def translate_hub_errors(repo_id: str) -> Iterator[None]:
    """Turn what `huggingface_hub` raises into errors that say what to do.

    Args:
        repo_id: to name in the message.

    Raises:
        PublishError: the Hub refused.
        HubConnectionError: the connection broke.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    again = "run the same command again: what is uploaded already is not sent twice"
    try:
        yield
    except HFValidationError as error:
        raise PublishError(f"expected a repository such as user/name, got {repo_id}: {error}") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404):
            again = f"check the spelling, and that HF_TOKEN or `hf auth login` has the right to {repo_id}"
        elif status == 412:
            again = "somebody else has committed meanwhile: look at it, then run the command again"
        raise PublishError(
            f"{repo_id}: the Hub answered {status} ({error.server_message or error}); {again}"
        ) from error
    except (httpx2.HTTPError, OSError, RuntimeError) as error:
        raise HubConnectionError(f"{repo_id}: broken off ({error.__cause__ or error}); {again}") from error


def _look_up(api: Any, repo: dict[str, Any], branch: str) -> _Remote:
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.hf_api import RepoFile

    try:
        private, refs = api.repo_info(**repo).private, api.list_repo_refs(**repo)
    except RepositoryNotFoundError:
        return _Remote()
    branches, tags = ({ref.name: ref.target_commit for ref in kind} for kind in (refs.branches, refs.tags))
    head = branches.get(branch) or branches["main"]
    tree = api.list_repo_tree(**repo, revision=head, recursive=True)
    return _Remote(private, branches, tags, head, {file.path: file for file in tree if isinstance(file, RepoFile)})


def _check_remote(repo_id: str, remote: _Remote, differing: list[str], *, private: bool, tag: str | None) -> None:
    """Refuse to make a private repository of a public one, and to change the files of a published version."""
    if private and remote.private is False:
        raise PublishError(f"{repo_id} is public already; make it private in its settings, or drop --private")
    if tag in remote.tags and differing:
        raise PublishError(
            f"{repo_id} holds {tag} already, with other content ({', '.join(differing)}); a published "
            "version stays as it is: raise --version"
        )


def _prepare(
    api: Any,
    repo: dict[str, Any],
    remote: _Remote,
    *,
    private: bool,
    sdk: str | None,
    branch: str | None,
    variables: Mapping[str, str],
) -> None:
    """Create the repository and the branch where they are missing, and set the variables of a Space."""
    if remote.head is None:
        api.create_repo(**repo, private=private, space_sdk=sdk)
    if branch and branch not in remote.branches:
        api.create_branch(**repo, branch=branch)
    _set_variables(api, repo["repo_id"], variables)


def _same(source: Path | bytes, remote: Any) -> bool:
    """Whether a file on the Hub has this content, by checksum; nothing is downloaded."""
    from huggingface_hub.utils.sha import git_hash

    if remote is None:
        return False
    if remote.lfs is None:
        return remote.blob_id == git_hash(source if isinstance(source, bytes) else source.read_bytes())
    mine = hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else sha256_of(source)
    return mine == remote.lfs.sha256


def _set_variables(api: Any, space_id: str, variables: Mapping[str, str]) -> None:
    current = {key: variable.value for key, variable in api.get_space_variables(space_id).items()} if variables else {}
    for key in (key for key, value in variables.items() if current.get(key) != value):
        api.add_space_variable(space_id, key, variables[key])


def _operations(changed: Files, deleted: list[str]) -> list[Any]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    return [
        *(CommitOperationDelete(path, is_folder=False) for path in deleted),
        *(CommitOperationAdd(path, source) for path, source in changed.items()),
    ]


def code_version() -> str:
    """Return the tag of this version of the code: v and the version in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f"v{project['version']}"


def add_options(parser: argparse.ArgumentParser, version: str | None) -> None:
    """Add the options of every program that publishes; `push_options` reads them.

    Args:
        parser: of the program.
        version: default of `--version`.
    """
    parser.add_argument(
        "--version", metavar="TAG", default=version, help=f"tag of the commit [default: {version or 'none'}]"
    )
    parser.add_argument("--private", action="store_true", help="create the repository as private")
    parser.add_argument("--revision", metavar="BRANCH", help="branch to commit to [default: main]")
    parser.add_argument("--create_pr", action="store_true", help="open a pull request instead")
    parser.add_argument(
        "--dry_run", action="store_true", help="check and compare, change nothing; without a network, check only"
    )


def push_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords of `push` that the options stand for, all but the tag."""
    return {name: getattr(args, name) for name in ("private", "revision", "create_pr", "dry_run")}


def tell(done: Published, dry_run: bool) -> None:
    """Print what was changed on the Hub, or would be."""
    lines = [f"upload {path}" for path in done.changed] + [f"delete {path}" for path in done.deleted]
    if not done.asked:
        lines = [f"{len(done.changed)} files pass all local checks"]
        lines.append("dry run: there is no connection, so the Hub was not asked what it holds already")
    elif not lines:
        lines = ["nothing changed"]
    elif dry_run:
        lines.append("dry run: nothing was changed")
    sys.stdout.write("\n".join([*lines, f"{done.url} ({done.commit or 'not committed'})"]) + "\n")
