"""The classes of a model: which labels of a dataset become which outputs, and in what order.

--labels angry,happy,excited        these classes, in this order; other names than the known ones are allowed
--label_map joy=happy,bored=        renames or merges labels; an empty name leaves their images out
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from training.data.labels import FERPLUS_EMOTIONS, canonical_label, label_key
from training.errors import LabelError

RESERVED = ",=/"  # they separate names on the command line, and the heads in a classifier's outputs


@dataclass(frozen=True)
class Classes:
    """How the labels of a dataset become classes. By default each known expression in it is one.

    Attributes:
        labels: the only classes there are, in order; empty to take those that the dataset has.
        label_map: new name by old one, "" to leave the images out. Spelling and case of the old one do not count.
        own: names that are classes although they are no known expressions.
    """

    labels: tuple[str, ...] = ()
    label_map: dict[str, str] = field(default_factory=dict)
    own: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (*self.labels, *filter(None, self.label_map.values())):
            if not name.isprintable() or set(name) & set(RESERVED):
                raise LabelError(f"expected the name of a class without any of {' '.join(RESERVED)}, got {name!r}")
        for name, names in (("labels", self.labels), ("label_map", tuple(self.label_map))):
            if len({label_key(label) for label in names}) < len(names):
                raise LabelError(f"--{name}: expected each class once, in one spelling, got {', '.join(names)}")
        if len(self.labels) == 1:
            raise LabelError(f"--labels: expected two classes or more, got {self.labels[0]}")
        targets = [name for name in self.label_map.values() if name]
        if self.labels and (foreign := [name for name in targets if self._listed(name) is None]):
            raise LabelError(f"--label_map: expected names among --labels {', '.join(self.labels)}, got {foreign[0]}")

    @classmethod
    def parse(cls, labels: str | None = None, label_map: str | None = None) -> Classes:
        """Read the flags `--labels` and `--label_map`.

        Args:
            labels: names with commas between them, such as "angry,happy,excited".
            label_map: pairs with commas between them, such as "happy=joy,fear=surprise,contempt=".

        Raises:
            LabelError: a flag has another form, or the two do not fit each other.
        """
        pairs = [pair.partition("=") for pair in (label_map or "").split(",") if pair.strip()]
        if wrong := [old for old, equals, _ in pairs if not equals or not old.strip()]:
            raise LabelError(f"--label_map: expected old=new,..., or old= to leave images out, got {wrong[0]!r}")
        names = [name.strip() for name in (labels or "").split(",")]
        if len({label_key(old) for old, _, _ in pairs}) < len(pairs):
            raise LabelError(f"--label_map: expected each label once, got {label_map}")
        return cls(
            labels=tuple(name for name in names if name),
            label_map={old.strip(): new.strip() for old, _, new in pairs},
        )

    @classmethod
    def of_model(cls, config: Mapping[str, Any]) -> Classes:
        """Return how a dataset is read for a trained model: its label map, and its own classes beside the known ones.

        Args:
            config: the content of config.json; `training.train` notes the map in it.
        """
        return cls(label_map=dict(config.get("label_map") or {}), own=tuple(config["id2label"].values()))

    def class_of(self, label: str) -> str | None:
        """Return the class of a label of the dataset, None where its images are left out.

        Raises:
            LabelError: it is neither a known expression nor one of these classes.
        """
        label = label.strip()
        target = {label_key(old): new for old, new in self.label_map.items()}.get(label_key(label))
        if target == "":
            return None
        name = label if target is None else target
        if self.labels:
            if (listed := self._listed(name)) is None:
                raise LabelError(
                    f"label {label!r}: expected one of --labels {', '.join(self.labels)}; add it there, give it the "
                    f"name of one of them with --label_map {label}=NAME, or leave its images out with {label}="
                )
            return listed
        if target is not None:
            return target
        try:
            return canonical_label(label)
        except LabelError as error:
            for own in self.own:
                if label_key(own) == label_key(label):
                    return own
            raise LabelError(
                f"{error}. --labels lists the classes where they are others; --label_map {label}=NAME renames this "
                f"one, and {label}= leaves its images out"
            ) from None

    def names(self, found: Iterable[str]) -> tuple[str, ...]:
        """Return the classes in order: `labels`, or else the found ones, known expressions first, as FER+ has them.

        Args:
            found: classes of the rows.

        Raises:
            LabelError: two of them are spellings of one.
        """
        found = set(found)
        keys = {label_key(name): name for name in found}
        if twice := [name for name in found if keys[label_key(name)] != name]:
            name = twice[0]
            raise LabelError(
                f"expected each class in one spelling, got {name} and {keys[label_key(name)]}; --label_map merges them"
            )

        def place(name: str) -> tuple[int, str]:
            key = label_key(name)
            return FERPLUS_EMOTIONS.index(key) if key in FERPLUS_EMOTIONS else len(FERPLUS_EMOTIONS), name

        return self.labels or tuple(sorted(found, key=place))

    def _listed(self, name: str) -> str | None:
        return next((label for label in self.labels if label_key(label) == label_key(name)), None)
