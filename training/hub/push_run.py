"""`--push_to_hub true`: publish a finished run as a package, with all the checks of `training.publish`.

The stock Trainer would push the run folder as it is: a pickle of the arguments among its files, and weights that no
`pipeline` can use where they read grayscale or have two heads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gradio_ui.recognition.errors import RecognitionError
from training.errors import PublishError, TrainingError
from training.hub.package_check import package_files
from training.hub.sync import Published, push, translate_hub_errors
from training.package import PackageArguments, package

if TYPE_CHECKING:
    from training.learning.arguments import DataArguments, TrainingArguments


def check_push(args: TrainingArguments) -> None:
    """Refuse before a long training what could not be pushed after it.

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
    with translate_hub_errors(args.hub_model_id):
        whoami()


def push_run(run: Path, data_args: DataArguments, args: TrainingArguments) -> Published:
    """Package a finished run in its folder `package`, and make the repository hold exactly that.

    Args:
        run: folder of `training.train`.
        data_args: the dataset whose validation split calibrates and measures.
        args: `hub_model_id`, `hub_private_repo` and `hub_revision` say where to.

    Raises:
        PublishError: packaging, a check, the Hub or the connection failed; the run folder is whole, and the message
            ends with the commands that repeat what failed.
    """
    repo_id, folder = str(args.hub_model_id), run / "package"
    again = f"python -m training.publish {folder} --repo_id {repo_id}"
    again += " --private" if args.hub_private_repo else ""
    again += f" --revision {args.hub_revision}" if args.hub_revision else ""
    try:
        arguments = PackageArguments(dataset=data_args.dataset, ferplus=data_args.ferplus, model_id=repo_id)
        package(run, folder, arguments)
    except (TrainingError, RecognitionError, OSError) as error:
        ferplus = f" --ferplus {data_args.ferplus}" if data_args.ferplus else ""
        first = f"python -m training.package {run} {folder} --dataset {data_args.dataset}{ferplus}"
        raise PublishError(f"{run} is trained, but not packaged: {error}. Then: {first} && {again}") from error
    try:
        return push(
            repo_id,
            package_files(folder, repo_id),
            message="End of training",
            private=bool(args.hub_private_repo),
            revision=args.hub_revision,
        )
    except (TrainingError, RecognitionError, OSError) as error:
        raise PublishError(f"{error}. The training is done and need not be repeated: {again}") from error
