"""Publish the app as a Space on the Hub, with the models it serves pinned to their commits.

    python -m training.publish_space user/space --model user/name[@REVISION][,user/other[@REVISION]...]

    python -m training.publish_space user/space --static --model user/name[@REVISION]
    python -m training.publish_space --static --model FOLDER --folder build/static

The Space holds the app, its page and its requirements; weights come from the models' own repositories, which the
variable FER_MODEL names. All changes arrive in one commit, and only what changed is uploaded. The token is that of
HF_TOKEN or of `hf auth login`.

`--static` makes a Space of plain files instead, which runs in the visitor's browser: no server, no bill. The same
files are left in a folder, for any other web host; without user/space that is all that is done.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.errors import HubConnectionError, PublishError, command
from training.hub.static_space import StaticModel, static_files, write_folder
from training.hub.sync import ROOT, Files, add_options, code_version, push, push_options, tell, translate_hub_errors

SPACE = ("app.py", "gradio_ui", "requirements.txt", "README.md", "LICENSE")


def space_files(root: Path, model_ids: list[str]) -> Files:
    """Return the files of the Space by their path on the Hub: app, page and requirements, no weights and no tests.

    Args:
        root: of this repository.
        model_ids: Hub ids for the Space's front matter.

    Raises:
        PublishError: a file is missing, or the front matter of README.md is not that of a Gradio Space.
    """
    from huggingface_hub import SpaceCard
    from yaml import YAMLError

    files: dict[str, Path | bytes] = {}
    for name in SPACE:
        if not (root / name).exists():
            raise PublishError(f"expected {name} in {root}, found none")
        for path in sorted((root / name).rglob("*")) if (root / name).is_dir() else [root / name]:
            if path.is_file() and path.suffix != ".pyc" and not path.name.startswith("."):
                files[path.relative_to(root).as_posix()] = path
    try:
        card = SpaceCard((root / "README.md").read_text(encoding="utf-8"))
    except (ValueError, YAMLError) as error:
        raise PublishError(f"README.md: its front matter cannot be used: {error}") from error
    found = {key: card.data.get(key) for key in ("sdk", "app_file")}
    if found != {"sdk": "gradio", "app_file": "app.py"}:
        raise PublishError(f"README.md: expected sdk: gradio and app_file: app.py in the front matter, got {found}")
    card.data["models"] = model_ids
    return files | {"README.md": str(card).encode()}


def pin_model(model: str) -> str:
    """Pin a model of the Hub, "user/name" or "user/name@revision", to a commit: "user/name@commit".

    Raises:
        PublishError: there is no such model or revision, or no access.
        HubConnectionError: the connection broke.
    """
    from huggingface_hub import model_info

    model_id, _, revision = model.partition("@")
    with translate_hub_errors(model_id):
        return f"{model_id}@{model_info(model_id, revision=revision or None).sha}"


def pin_models(models: list[str], dry_run: bool) -> list[str]:
    """Pin each model; a dry run without a connection leaves them as they are.

    Raises:
        PublishError, HubConnectionError: see `pin_model`.
    """
    try:
        return [pin_model(model) for model in models]
    except HubConnectionError:
        if not dry_run:
            raise
        return models


def make_static(args: argparse.Namespace) -> Files:
    """Make the files of a static Space and leave them in a folder.

    Args:
        args: of the command line: model, runtime, folder, space, dry_run.

    Raises:
        PublishError: the model has no ONNX files, or the folder holds something else.
    """
    folder = Path(args.model).expanduser()
    model = StaticModel.from_folder(folder) if folder.is_dir() else StaticModel.from_hub(pin_model(args.model))
    files = static_files(ROOT, model, args.runtime)
    target = args.folder or ROOT / "build" / (args.space or "static").rpartition("/")[2]
    write_folder(files, target)
    sys.stdout.write(f"{len(files)} files in {target}; serve them with python -m http.server --directory {target}\n")
    return files


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.publish_space", description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("space", metavar="USER/SPACE", nargs="?", help="where to; may be left out with --static")
    add(
        "--model",
        metavar="USER/NAME[@REVISION]",
        required=True,
        help="what the Space serves; several, with commas, to choose from; with --static one, or a model folder",
    )
    add("--static", action="store_true", help="make a Space of plain files, which runs in the visitor's browser")
    add("--folder", type=Path, help="with --static: where to leave its files [default: build/SPACE]")
    add(
        "--runtime",
        type=Path,
        metavar="FOLDER",
        help="with --static: copy onnxruntime-web from its dist folder, instead of leaving it to the public CDN",
    )
    add_options(parser, code_version())
    args = parser.parse_args(argv)
    if not args.static and (args.folder or args.runtime or not args.space):
        parser.error("expected USER/SPACE, and --folder and --runtime with --static only")
    return args


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = parse(argv)
    message = f"Publish the app, {args.version}"
    if args.static:
        files = make_static(args)
        if args.space:
            done = push(
                args.space, files, message=message, repo_type="space", space_sdk="static", **push_options(args)
            )
            tell(done, args.dry_run)
        return
    models = [model.strip() for model in args.model.split(",")]
    files = space_files(ROOT, [model.partition("@")[0] for model in models])
    variables = {"FER_MODEL": ",".join(pin_models(models, args.dry_run))}
    done = push(args.space, files, message=message, repo_type="space", variables=variables, **push_options(args))
    sys.stdout.write(f"FER_MODEL = {variables['FER_MODEL']}\n")
    tell(done, args.dry_run)


if __name__ == "__main__":
    main()
