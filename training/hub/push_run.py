"""`--push_to_hub true`: a finished run goes to the Hub as a package, with all the checks of `training.publish`.

The stock Trainer would push the run folder as it is: a pickle of the arguments among its files, and weights that no
`pipeline` can use where they read greyscale or have two heads.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from training.errors import CardError, EvaluationError, LabelError, PackageError, PublishError, SurgeryError
from training.hub.sync import Published, explained, push

if TYPE_CHECKING:
    from training.learning.arguments import DataArguments, TrainingArguments


def check_push(args: TrainingArguments) -> None:
    """Ends early, before the long training, where the push could not succeed.

    Raises:
        PublishError: no repository was named, or nobody is logged in.
    """
    from huggingface_hub import get_token, whoami

    if args.hub_model_id is None or "/" not in args.hub_model_id:
        raise PublishError(f"push_to_hub: expected --hub_model_id user/name, got {args.hub_model_id}")
    if args.hub_token is not None or get_token() is None:
        raise PublishError(
            "push_to_hub: expected a token in HF_TOKEN or a login with `hf auth login`"
            + (", got --hub_token, which other users of this machine can see" if args.hub_token else ", found none")
        )
    with explained(args.hub_model_id):
        whoami()


def push_run(run: Path, data_args: DataArguments, args: TrainingArguments) -> Published:
    """Packages a finished run into its folder `package`, checks that, and makes the repository hold exactly it.

    Args:
        run: folder of `training.train`.
        data_args: the dataset whose validation split calibrates and measures.
        args: `hub_model_id`, `hub_private_repo` and `hub_revision` say where to.

    Raises:
        PublishError: the run cannot be packaged, or it is refused by the checks or the Hub, or the connection broke;
            the run folder is whole.
    """
    from training.package import PackageArguments, package
    from training.publish import package_files

    repo_id = str(args.hub_model_id)
    arguments = PackageArguments(
        dataset=data_args.dataset, ferplus=data_args.ferplus, model_id=repo_id, max_megabytes=math.inf
    )
    try:
        folder = package(run, run / "package", arguments)
    except (CardError, EvaluationError, SurgeryError, LabelError, PackageError) as error:
        raise PublishError(f"{run} was trained, but not pushed: {error}") from error
    try:
        return push(
            repo_id,
            package_files(folder, repo_id),
            message="End of training",
            private=bool(args.hub_private_repo),
            revision=args.hub_revision,
        )
    except PublishError as error:
        again = f"python -m training.publish {folder} --repo_id {repo_id}"
        again += " --private" if args.hub_private_repo else ""
        again += f" --revision {args.hub_revision}" if args.hub_revision else ""
        raise PublishError(f"{error}. The training is done and need not be repeated: {again}") from error
