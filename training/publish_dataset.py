"""Publish a dataset on the Hub: any source that `training.data` reads, as Parquet shards with label names and a card.

    python -m training.publish_dataset fer2013.csv --repo_id user/fer2013 --private --license unknown
    python -m training.train recipe.json --dataset user/fer2013@REVISION

The second command trains from it. Publish only what you have the right to pass on; `--private` keeps it to yourself.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from training.data.classes import Classes
from training.data.load import load_fer, provenance
from training.errors import command
from training.hub.sync import Files, add_options, push, push_options, tell

if TYPE_CHECKING:
    from datasets import DatasetDict

SHARD_BYTES = 500e6  # of images and labels, as `datasets` cuts them
DERIVED = ["pixel_hash"]  # `load_fer` computes it again

CARD = """
# {name}

Images of faces with the **apparent expression** that annotators gave each one: what a face looks like to them, not
what the person feels. Made from `{source}` (`{revision}`) with `training.publish_dataset`.

```python
from datasets import load_dataset

dataset = load_dataset("{repo_id}")
```

| |{splits} |
|---|{rules}
{rows}

The label `i` stands for the `i`-th name of `dataset["{first}"].features["label"].names`.{votes} Some images may show
people who never agreed to it: do not try to identify anybody, and respect the terms of the source.
"""

VOTES = """ The column `votes` holds the FER+
counts of ten annotators for {names}, in this order."""


def dataset_files(data: DatasetDict, repo_id: str, license_id: str, folder: Path) -> Files:
    """Write the Parquet shards of a dataset.

    Args:
        data: a result of `load_fer`.
        repo_id: what the card calls it.
        license_id: identifier on the Hub, such as "unknown" or "cc-by-4.0".
        folder: where the shards are written, data/SPLIT-00000-of-00001.parquet.

    Returns:
        The files of the dataset repository by their path on the Hub, the card included.
    """
    files: dict[str, Path | bytes] = {}
    for split, rows in data.remove_columns(DERIVED).items():
        count = math.ceil(rows.data.nbytes * len(rows) / len(rows.data) / SHARD_BYTES)
        for index in range(count):
            name = f"data/{split}-{index:05}-of-{count:05}.parquet"
            rows.shard(count, index, contiguous=True).to_parquet(folder / name)
            files[name] = folder / name
    return files | {"README.md": render_card(data, repo_id, license_id).encode()}


def render_card(data: DatasetDict, repo_id: str, license_id: str) -> str:
    """Render the dataset card, metadata first; every number in it is counted."""
    from datasets import DatasetInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    from training.data.labels import VOTES as VOTE_NAMES

    first = next(iter(data.values()))
    name, names, origin = repo_id.rsplit("/", 1)[-1], first.features["label"].names, provenance(data)
    counts = {split: Counter(rows["label"][:]) for split, rows in data.items()}
    metadata = DatasetCardData(
        pretty_name=name,
        license=license_id,
        task_categories=["image-classification"],
        tags=["facial-expression-recognition", "emotion", "faces"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*"} for split in data],
            }
        ],
    )
    features = data.remove_columns(DERIVED)[next(iter(data))].features
    DatasetInfosDict(default=DatasetInfo(features=features)).to_dataset_card_data(metadata)
    lines = [[label, *(f"{counts[split][i]:,}" for split in data)] for i, label in enumerate(names)]
    lines.append(["all", *(f"{len(rows):,}" for rows in data.values())])
    text = CARD.format(
        name=name,
        repo_id=repo_id,
        source=origin["source"],
        revision=origin["revision"],
        splits=" |".join(f" {split}" for split in data),
        rules="---|" * len(data),
        rows="\n".join(f"| {' | '.join(line)} |" for line in lines),
        first=next(iter(data)),
        votes=VOTES.format(names=", ".join(VOTE_NAMES)) if "votes" in features else "",
    )
    return f"---\n{metadata}\n---\n{text}"


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.publish_dataset", description=__doc__.split("\n\n")[0])
    parser.add_argument("dataset", help="CSV, folder or Hub id, as --dataset of training.train")
    parser.add_argument("--repo_id", metavar="USER/NAME", required=True, help="where to")
    parser.add_argument("--ferplus", metavar="CSV", help="fer2013new.csv: publish the FER+ votes too")
    parser.add_argument("--labels", help="the classes in order, as for training.train")
    parser.add_argument("--label_map", help="new names of labels, as for training.train")
    parser.add_argument("--skip_bad_rows", action="store_true", help="drop and count bad rows instead of ending")
    parser.add_argument("--license", default="unknown", help="of the data [default: %(default)s]")
    add_options(parser, version=None)
    args = parser.parse_args(argv)
    classes = Classes.parse(args.labels, args.label_map)
    data = load_fer(args.dataset, ferplus=args.ferplus, classes=classes, skip_bad_rows=args.skip_bad_rows)
    with tempfile.TemporaryDirectory() as scratch:
        done = push(
            args.repo_id,
            dataset_files(data, args.repo_id, args.license, Path(scratch)),
            message=f"Publish {Path(args.dataset).name}",
            repo_type="dataset",
            tag=args.version,
            **push_options(args),
        )
    tell(done, args.dry_run)


if __name__ == "__main__":
    main()
