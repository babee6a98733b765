"""Print the splits and classes of a dataset.

python -m training.data --dataset fer2013.csv.gz --ferplus fer2013new.csv
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

from training.data.classes import Classes
from training.data.load import load_fer, provenance
from training.errors import command


@command
def main(argv: list[str] | None = None) -> None:
    """Print the splits and classes of a dataset."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--ferplus")
    parser.add_argument("--labels", help="the classes in order, such as angry,happy,excited")
    parser.add_argument("--label_map", help="new names, such as joy=happy,bored= (nothing: left out)")
    parser.add_argument("--skip_bad_rows", action="store_true")
    args = parser.parse_args(argv)
    classes = Classes.parse(args.labels, args.label_map)
    dataset = load_fer(args.dataset, ferplus=args.ferplus, classes=classes, skip_bad_rows=args.skip_bad_rows)
    names = next(iter(dataset.values())).features["label"].names
    counts = {split: Counter(rows["label"][:]) for split, rows in dataset.items()}
    lines = ["".join(f"{cell:>12}" for cell in ("", *dataset))]
    lines += [f"{name:>12}" + "".join(f"{counts[s][i]:>12,}" for s in dataset) for i, name in enumerate(names)]
    lines += [f"{'all':>12}" + "".join(f"{len(rows):>12,}" for rows in dataset.values())]
    sys.stdout.write("\n".join(lines) + "\n" + json.dumps(provenance(dataset), indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
