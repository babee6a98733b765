import numpy as np
import pytest
from PIL import Image

from tests.support.tiny_run import make_run
from training.data.load import load_fer
from training.evaluate import main
from training.evaluation.predictions import classify
from training.network.build import load_model
from training.reporting.galleries import write_galleries


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.mark.slow
def test_galleries_are_three_images_and_no_vectors(run, tiny_csv, tmp_path):
    write_galleries(classify(*load_model(run), load_fer(tiny_csv), split="test"), tmp_path / "galleries")
    files = sorted(path.name for path in (tmp_path / "galleries").iterdir())
    assert files == ["confident_hits.png", "confident_misses.png", "near_ties.png"]
    shades = np.unique(Image.open(tmp_path / "galleries" / "near_ties.png").convert("L"))
    assert len(shades) > 50  # photographs, not only text on white


def test_images_of_people_never_enter_a_package(run, tiny_csv, tmp_path):
    for name in ("README.md", "model.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(SystemExit, match="expected a folder outside of any package"):
        main([str(run), "--dataset", str(tiny_csv), "--galleries", str(tmp_path / "figures" / "galleries")])
    assert not (tmp_path / "figures").exists()
