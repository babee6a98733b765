"""Publish a package as a model on the Hub: checked first, in one commit, and only what changed is uploaded.

    python -m training.publish model_card/fer2013 --repo_id user/name [--private] [--revision BRANCH | --create_pr]

`--dry_run` checks the package and tells what would be uploaded; without a network it checks only, and says so. The
token is that of HF_TOKEN or of `hf auth login`. The repository becomes a mirror of the folder; after an interruption
the same command uploads what is missing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from training.errors import command
from training.hub.package_check import package_files
from training.hub.sync import add_options, code_version, push, push_options, tell


class _Moved(argparse.Action):
    """The option `--space`, which has become a program of its own."""

    def __call__(self, parser: argparse.ArgumentParser, _: Any, value: Any, option: str | None = None) -> None:
        parser.exit(2, f"error: publish a Space with python -m training.publish_space {value} --model USER/NAME\n")


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.publish", description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="package to publish")
    parser.add_argument("--repo_id", metavar="USER/NAME", required=True, help="where to")
    parser.add_argument("--space", action=_Moved, help=argparse.SUPPRESS)
    add_options(parser, code_version())
    args = parser.parse_args(argv)
    files = package_files(args.folder, args.repo_id)
    message = f"Publish {args.version}"
    tell(push(args.repo_id, files, message=message, tag=args.version, **push_options(args)), args.dry_run)


if __name__ == "__main__":
    main()
