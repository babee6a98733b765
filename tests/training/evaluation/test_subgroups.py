import csv

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tests.support.dataset_fixtures import write_csv
from tests.support.tiny_run import make_run
from training.data.labels import EMOTIONS
from training.data.load import load_fer
from training.evaluate import main
from training.evaluation.metrics import CORE
from training.evaluation.predictions import classify
from training.evaluation.subgroups import format_groups, group_names, measure_groups
from training.network.build import load_model
from training.reporting.report import Report


def answers(references, hits, classes=3):
    """Probabilities that name the reference where `hits` says so and the next class elsewhere."""
    predicted = np.where(hits, references, (references + 1) % classes)
    return np.eye(classes)[predicted] * 0.7 + 0.1


@pytest.fixture
def two_groups():
    """80 images of 3 classes, of 20 people: "a" is right on 30 of 40 images, "b" on 20 of 40."""
    references = np.arange(80) % 3
    rng = np.random.default_rng(0)
    hits = np.r_[rng.permutation(40) < 30, rng.permutation(40) < 20]
    return answers(references, hits), references, ["a"] * 40 + ["b"] * 40, list(np.arange(80) // 4)


def test_metrics_per_group_and_gap(two_groups):
    p, y, groups, people = two_groups
    found = measure_groups(p, y, ["x", "y", "z"], {"g": groups}, people).columns["g"]
    a, b = found.groups["a"], found.groups["b"]
    assert (a.images, a.people, a.judged) == (40, 10, True)
    assert (a.metrics.accuracy, b.metrics.accuracy) == (0.75, 0.5)
    assert a.metrics.balanced_accuracy == pytest.approx(balanced_accuracy_score(y[:40], p[:40].argmax(1)))
    for row in (a, b):
        for name in CORE:
            low, high = getattr(row.intervals, name)
            assert low < getattr(row.metrics, name) < high
    gap = found.gaps["accuracy"]
    assert (gap.highest, gap.lowest, gap.difference) == ("a", "b", 0.25)
    assert found.warnings == []


def test_people_are_resampled_not_their_images():
    y = np.arange(120) % 3
    people = np.arange(120) // 20  # six people, each always right or always wrong
    hits = people % 2 == 0
    of_people, of_images = (
        measure_groups(answers(y, hits), y, ["x", "y", "z"], {"g": ["a"] * 120}, who).columns["g"].groups["a"]
        for who in (list(people), None)
    )
    widths = [float(np.diff(row.intervals.accuracy)[0]) for row in (of_people, of_images)]
    assert widths[0] > 2 * widths[1]
    assert of_images.people is None


def test_nothing_but_misses_is_no_certainty():
    y = np.arange(40) % 3
    row = measure_groups(answers(y, y < 0), y, ["x", "y", "z"], {"g": ["a"] * 40}).columns["g"].groups["a"]
    assert row.metrics.accuracy == 0
    assert row.intervals.accuracy == pytest.approx((0, 1.959964**2 / (40 + 1.959964**2)))  # Wilson, z of 95 %


def test_nothing_but_hits_is_no_certainty():
    y = np.arange(40) % 3
    row = measure_groups(answers(y, y >= 0), y, ["x", "y", "z"], {"g": ["a"] * 40}).columns["g"].groups["a"]
    assert row.metrics.accuracy == 1
    assert row.intervals.accuracy == pytest.approx((40 / (40 + 1.959964**2), 1))  # Wilson, z of 95 %
    assert row.intervals.balanced_accuracy is None


def test_small_groups_are_kept_out_of_the_gap(two_groups):
    p, y, groups, people = two_groups
    groups[:5] = ["c"] * 5
    result = measure_groups(p, y, ["x", "y", "z"], {"g": groups, "h": [0] * 72 + [1] * 8}, people)
    small = result.columns["g"].groups["c"]
    assert not small.judged and small.intervals is None
    assert "c" not in {result.columns["g"].gaps["accuracy"].highest, result.columns["g"].gaps["accuracy"].lowest}
    assert "too small to judge: c" in result.columns["g"].warnings
    assert result.columns["h"].gaps == {}
    assert (
        "fewer than two groups to compare by accuracy, balanced_accuracy, macro_f1: no gap"
        in result.columns["h"].warnings
    )
    shown = format_groups(result)
    assert "30 images" in shown and "too small to judge" in shown


def test_many_images_of_few_people_are_too_small(two_groups):
    p, y, groups, _ = two_groups
    found = measure_groups(p, y, ["x", "y", "z"], {"g": groups}, [n // 10 for n in range(80)]).columns["g"]
    assert [(row.people, row.judged) for row in found.groups.values()] == [(4, False), (4, False)]


def test_means_over_other_classes_are_not_compared():
    y = np.r_[np.arange(60) % 3, np.arange(60) % 2]
    found = measure_groups(answers(y, np.arange(120) % 4 > 0), y, ["x", "y", "z"], {"g": ["a"] * 60 + ["b"] * 60})
    column = found.columns["g"]
    assert list(column.gaps) == ["accuracy"]
    assert "b has no images of z: its means over classes are not compared" in column.warnings


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("age", ["17", 18, " 29", "30.0", "44", 45, 60, "99"], ["under 18", "18 to under 30", "18 to under 30"]
         + ["30 to under 45"] * 2 + ["45 to under 60"] + ["60 and over"] * 2),
        ("age", ["", None, "n/a", "unknown", "x", "21", "22", "nan", "23"], ["unknown"] * 5 + ["18 to under 30"] * 2
         + ["unknown", "18 to under 30"]),
        ("gender", ["FEMALE", "female ", "Male", None], ["FEMALE", "FEMALE", "Male", "unknown"]),
        ("cameras", [1, 2, 2], ["1", "2", "2"]),
        ("height", list(range(12)), ["under 2.75"] * 3 + ["2.75 to under 5.5"] * 3 + ["5.5 to under 8.25"] * 3
         + ["8.25 and over"] * 3),
    ],
)  # fmt: skip
def test_values_become_groups(column, values, expected):
    names = group_names(column, values)
    assert list(names) == expected
    assert names.categories[-1] == "unknown"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.mark.slow
def test_per_person_set_end_to_end(run, tiny_people, tmp_path, capsys):
    rows = list(csv.reader((tiny_people / "emotions.csv").open()))[1:]
    rows[0][1] = rows[1][1] = ""  # one man and one woman of whom we do not know
    people = tmp_path / "people"
    people.mkdir()
    (people / "images").symlink_to(tiny_people / "images")
    write_csv(people / "emotions.csv", rows, ("set_id", "gender", "age", "country"))
    output = tmp_path / "report.json"
    main([str(run), "--dataset", str(people), "--split", "all", "--group_by", "gender", "age", "country",
          "--output", str(output)])  # fmt: skip
    result = Report.load(output).results[0]
    assert (result.counts.images, result.counts.left_out) == (84, 12)
    assert "12 images of contempt left out: the model has no such label" in result.warnings
    columns = result.subgroups.columns
    assert {name: row.images for name, row in columns["gender"].groups.items()} == {
        "MALE": 35, "FEMALE": 35, "unknown": 14,
    }  # fmt: skip
    assert "14 images without a usable value counted as unknown" in columns["gender"].warnings
    assert columns["age"].groups["18 to under 30"].people == 10
    assert not columns["age"].groups["30 to under 45"].judged
    accuracy = columns["country"].groups["JP"].metrics.accuracy
    assert accuracy == pytest.approx(result.metrics.accuracy)
    shown = capsys.readouterr().out
    assert "largest gap in accuracy" in shown and "FEMALE" in shown


def test_class_that_the_dataset_lacks_is_left_out(run, tiny_csv):
    data = load_fer(tiny_csv)
    predictions = classify(*load_model(run, "ferplus"), data, split="test", head="ferplus")
    assert predictions.labels == list(EMOTIONS) and predictions.logits.shape == (1, 14, 7)
    assert [message.split(":")[0] for message in predictions.left_out] == ["contempt left out"]


def test_column_that_is_not_there_is_refused_first(run, tiny_people, tiny_csv):
    arguments = [str(run), "--group_by", "sex", "--split", "all", "--dataset"]
    with pytest.raises(SystemExit, match="metadata among set_id, gender, age, country; got sex"):
        main([*arguments, str(tiny_people)])
    with pytest.raises(SystemExit, match="none, for the dataset has none; got sex"):
        main([*arguments, str(tiny_csv)])


@pytest.mark.parametrize(("images", "people", "judged"), [(30, 5, True), (29, 5, False), (30, 4, False)])
def test_group_is_judged_from_the_sizes_of_the_rule(images, people, judged):
    y = np.arange(images) % 3
    found = measure_groups(
        answers(y, y >= 0), y, ["x", "y", "z"], {"g": ["a"] * images}, list(np.arange(images) % people)
    )
    assert found.columns["g"].groups["a"].judged is judged
    assert (found.columns["g"].groups["a"].intervals is not None) is judged


def test_gap_has_the_interval_of_its_difference(two_groups):
    p, y, groups, _ = two_groups
    gap = measure_groups(p, y, ["x", "y", "z"], {"g": groups}).columns["g"].gaps["accuracy"]
    low, high = gap.interval
    error = np.sqrt(0.75 * 0.25 / 40 + 0.5 * 0.5 / 40)  # of two independent shares
    assert (low + high) / 2 == pytest.approx(0.25, abs=0.02)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_gap_is_between_the_best_and_the_worst_group():
    y = np.arange(160) % 3
    share = np.repeat([0.5, 0.9, 0.2, 0.7], 40)
    hits = np.tile(np.arange(40), 4) / 40 < share
    found = measure_groups(answers(y, hits), y, ["x", "y", "z"], {"g": list(np.repeat([*"abcd"], 40))})
    for gap in found.columns["g"].gaps.values():
        assert (gap.highest, gap.lowest) == ("b", "c")
    assert found.columns["g"].gaps["accuracy"].difference == pytest.approx(0.7)


def test_unknown_group_is_not_compared(two_groups):
    p, y, groups, _ = two_groups
    found = measure_groups(p, y, ["x", "y", "z"], {"g": [None if name == "a" else name for name in groups]}).columns[
        "g"
    ]
    assert found.groups["unknown"].judged and found.gaps == {}
    assert "40 images without a usable value counted as unknown" in found.warnings
