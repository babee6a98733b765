"""Publish a package, or the app as a Space, on the Hub: checked first, in one commit, and only what changed.

    python -m training.publish model_card/fer2013 --repo_id user/name [--private] [--revision BRANCH | --create_pr]
    python -m training.publish --space user/space --model user/name[@REVISION][,user/other[@REVISION]...]

`--dry_run` checks and tells what would be uploaded. The token is that of HF_TOKEN or of `hf auth login`. The Hub's
repository ends as a mirror of the folder; after an interruption the same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

from gradio_ui.recognition.errors import ModelError
from training.card import TASK, render_card
from training.data.labels import canonical_label
from training.errors import CardError, LabelError, PackageError, PublishError, ReportError
from training.files import sha256_of
from training.hub.sync import Files, add_options, explained, push, tell
from training.reporting.report import Report

ROOT = Path(__file__).parents[1]
REQUIRED = ("README.md", "config.json", "preprocessor_config.json", "model.safetensors", "report.json")
OPTIONAL = ("curves.png", "figures/*.png", "figures/*.svg", "onnx/model.onnx", "onnx/model_quantized.onnx")
PICKLES = {".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"}
SPACE = ("app.py", "gradio_ui", "requirements.txt", "README.md", "LICENSE")


def check_package(folder: Path) -> list[str]:
    """Looks at a package as a stranger would meet it.

    Args:
        folder: as `training.package` writes it.

    Returns:
        Everything that is wrong, a sentence each; empty for a package that may be published.
    """
    from gradio_ui.recognition.backends import ONNX_FILE
    from gradio_ui.recognition.classifier import Classifier
    from training.package import check

    if not folder.is_dir():
        return [f"expected a package folder, found nothing at {folder}"]
    problems = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.resolve().is_relative_to(folder.resolve()):
            problems.append(f"{name}: a link that leads out of the folder; copy the file instead")
        elif path.suffix in PICKLES:
            problems.append(f"{name}: may hold a pickle, which runs code when it is loaded; use safetensors")
        elif not path.is_dir() and not any(fnmatch.fnmatchcase(name, known) for known in (*REQUIRED, *OPTIONAL)):
            problems.append(f"{name}: does not belong to a package; delete it")
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if missing:
        return [*problems, f"{', '.join(missing)} missing; package the run again"]
    labels = []
    try:
        labels = list(Classifier.from_pretrained(folder, device="cpu", backend="torch").labels)
        if (folder / ONNX_FILE).exists():
            Classifier.from_pretrained(folder, device="cpu", backend="onnxruntime")
        if len(set(labels)) < len(labels) or labels != [canonical_label(name) for name in labels]:
            problems.append(f"config.json: expected the label names of training.data.labels, each once, got {labels}")
        check(folder, labels, float("inf"))
    except (ModelError, LabelError, PackageError, OSError, ValueError) as error:
        problems.append(f"pipeline: {error}")
    return problems + _check_report(folder, labels)


def _check_report(folder: Path, labels: list[str]) -> list[str]:
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    try:
        report = Report.load(folder / "report.json")
        card = render_card(report) + "\n"
    except (ReportError, CardError, KeyError) as error:
        return [f"report.json: {error!r}"]
    problems = []
    if (found := report.model.weights_sha256) != (weights := sha256_of(folder / "model.safetensors")):
        problems.append(f"report.json: is about other weights ({found[:12]}) than model.safetensors ({weights[:12]})")
    if labels and any(set(result.labels) != set(labels) for result in report.results):
        problems.append("report.json: its results are about other labels than those of config.json")
    text = (folder / "README.md").read_text(encoding="utf-8")
    try:
        data = ModelCard(text).data
        wanted = {"pipeline_tag": TASK, "library_name": "transformers"}
        problems += [
            f"README.md: expected {key}: {value}, got {data.get(key)}"
            for key, value in wanted.items()
            if data.get(key) != value
        ]
        problems += [f"README.md: expected {key} in the metadata" for key in ("license", "tags") if not data.get(key)]
    except (ValueError, TypeError, YAMLError) as error:
        problems.append(f"README.md: its metadata cannot be used: {error}")
    if text != card:
        problems.append("README.md: is not what report.json says; run python -m training.card on the folder")
    return problems


def package_files(folder: Path, repo_id: str) -> Files:
    """The files of a package by their path on the Hub; the card's quick start names the repository.

    Raises:
        PublishError: listing all that is wrong with the package.
    """
    if problems := check_package(folder):
        raise PublishError("\n  - ".join([f"{folder} is not fit to be published:", *problems]))
    report = Report.load(folder / "report.json")
    card = render_card(replace(report, model=replace(report.model, name=repo_id))) + "\n"
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return files | {"README.md": card.encode()}


def space_files(root: Path, model_ids: list[str]) -> Files:
    """The files of the Space by their path on the Hub: app, page and requirements, no weights and no tests.

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
    """A model id of the Hub, also "user/name@revision" -> "user/name@commit".

    Raises:
        PublishError: there is no such model or revision, no access, or no connection.
    """
    from huggingface_hub import model_info

    model_id, _, revision = model.partition("@")
    with explained(model_id):
        return f"{model_id}@{model_info(model_id, revision=revision or None).sha}"


def version() -> str:
    """The tag that stands for this version of the code: v and the version of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f"v{project['version']}"


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.publish", description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="package to publish as a model")
    parser.add_argument("--repo_id", metavar="USER/NAME", help="where to")
    parser.add_argument("--space", metavar="USER/SPACE", help="publish the app as this Space instead")
    served = "what the Space serves; several, with commas, to choose from"
    parser.add_argument("--model", metavar="USER/NAME[@REVISION]", help=served)
    parser.add_argument("--version", default=version(), help="tag of the commit [default: %(default)s]")
    add_options(parser)
    args = parser.parse_args(argv)
    options = {name: getattr(args, name) for name in ("private", "revision", "create_pr", "dry_run")}
    try:
        if args.folder and args.repo_id and not (args.space or args.model):
            files = package_files(args.folder, args.repo_id)
            done = push(args.repo_id, files, message=f"Publish {args.version}", tag=args.version, **options)
        elif args.space and args.model and not (args.folder or args.repo_id):
            pinned = [pin_model(model.strip()) for model in args.model.split(",")]
            files = space_files(ROOT, [model.partition("@")[0] for model in pinned])
            variables = {"FER_MODEL": ",".join(pinned)}
            options |= {"repo_type": "space", "variables": variables, "message": f"Publish the app, {args.version}"}
            done = push(args.space, files, **options)
            sys.stdout.write(f"FER_MODEL = {variables['FER_MODEL']}\n")
        else:
            parser.error("expected either FOLDER --repo_id USER/NAME or --space USER/SPACE --model USER/NAME")
    except PublishError as error:
        sys.exit(f"error: {error}")
    tell(done, args.dry_run)


if __name__ == "__main__":
    main()
