"""The app goes to a Space: without weights and tests, with the model pinned to a commit."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import HfApi, SpaceCard

from tests.support.hub_fixtures import Client, files_of
from tests.support.hub_server import Fault, HubServer
from training import publish
from training.errors import PublishError
from training.hub.sync import push
from training.publish_space import main, space_files

ARGUMENTS = ["tester/space", "--model", "tester/faces"]


@pytest.fixture(autouse=True)
def model(client: Client, hub: HubServer) -> str:
    """A model to serve; its commit."""
    HfApi().create_repo("tester/faces")
    return hub.repos["model", "tester/faces"].refs["main"]


def test_the_app_without_weights_and_tests(hub: HubServer, model: str, root: Path) -> None:
    main(ARGUMENTS)
    space = hub.repos["space", "tester/space"]
    assert space.sdk == "gradio"
    assert space.variables == {"FER_MODEL": {"value": f"tester/faces@{model}"}}
    assert {path.split("/")[0] for path in space.files} == {
        *("app.py", "gradio_ui", "requirements.txt", "README.md", "LICENSE", ".gitattributes")
    }
    assert not any("__pycache__" in path or path.endswith((".safetensors", ".onnx")) for path in space.files)
    for name in ("app.py", "gradio_ui/demo.py", "gradio_ui/recognition/hub.py", "requirements.txt"):
        assert space.files[name] == (root / name).read_bytes()
    card = SpaceCard(space.files["README.md"].decode())
    assert (card.data.sdk, card.data.app_file, card.data["models"]) == ("gradio", "app.py", ["tester/faces"])
    assert card.text.strip() == SpaceCard((root / "README.md").read_text()).text.strip()


RUN = """
import sys
import gradio

gradio.Blocks.launch = lambda page, i18n, **_: print(i18n.translations["en"])
sys.argv = ["app.py", "--port", "7968", "--detector", "yunet"]
import app

app.main()
"""


@pytest.mark.slow
def test_the_space_starts_from_what_it_was_given(
    hub: HubServer, client: Client, package: Path, tmp_path: Path
) -> None:
    commit = push("tester/faces", files_of(package), message="first").commit
    main(ARGUMENTS)
    space = hub.repos["space", "tester/space"]
    for name, content in space.files.items():
        (tmp_path / "space" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "space" / name).write_bytes(content)
    pinned = {name: variable["value"] for name, variable in space.variables.items()}
    result = client.run("-c", RUN, cwd=tmp_path / "space", **pinned)
    assert result.returncode == 0, result.stderr
    assert "tester/faces" in result.stdout and str(commit) in result.stdout
    assert "warning" not in result.stderr


def test_again_changes_only_the_pin(hub: HubServer, model: str) -> None:
    main(ARGUMENTS)
    space = hub.repos["space", "tester/space"]
    commits = len(space.commits)
    hub.requests.clear()
    main(ARGUMENTS)
    assert hub.asked("PUT|POST") == 0
    faces = hub.repos["model", "tester/faces"]
    new = faces.commit("main", faces.files | {"config.json": b"{}"})
    main(ARGUMENTS)
    assert space.variables["FER_MODEL"]["value"] == f"tester/faces@{new}"
    main([*ARGUMENTS[:-1], f"tester/faces@{model}"])
    assert space.variables["FER_MODEL"]["value"] == f"tester/faces@{model}"
    assert len(space.commits) == commits


def test_several_models_to_choose_from(hub: HubServer, model: str) -> None:
    HfApi().create_repo("tester/more")
    more = hub.repos["model", "tester/more"].refs["main"]
    main([*ARGUMENTS[:-1], "tester/faces, tester/more"])
    space = hub.repos["space", "tester/space"]
    assert space.variables["FER_MODEL"]["value"] == f"tester/faces@{model},tester/more@{more}"
    assert SpaceCard(space.files["README.md"].decode()).data["models"] == ["tester/faces", "tester/more"]


def test_broken_off_and_again(hub: HubServer, model: str) -> None:
    hub.faults.append(Fault("/commit/main", cut=True))
    with pytest.raises(SystemExit, match="broken off"):
        main(ARGUMENTS)
    assert hub.repos["space", "tester/space"].files.keys() == {".gitattributes"}
    main(ARGUMENTS)
    assert "app.py" in hub.repos["space", "tester/space"].files


@pytest.mark.parametrize("model_id", ["tester/gone", "tester/faces@v9"])
def test_no_such_model(hub: HubServer, model_id: str) -> None:
    with pytest.raises(SystemExit, match="answered 404"):
        main([*ARGUMENTS[:-1], model_id])
    assert ("space", "tester/space") not in hub.repos


def test_dry_run_without_a_connection(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    hub.faults.append(Fault("", cut=True, times=999))
    main([*ARGUMENTS, "--dry_run"])
    said = capsys.readouterr().out
    assert "FER_MODEL = tester/faces\n" in said and "the Hub was not asked" in said
    with pytest.raises(SystemExit, match="broken off"):
        main(ARGUMENTS)


def test_the_old_option_names_the_new_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        publish.main(["--space", "tester/space", "--model", "tester/faces"])
    said = "error: publish a Space with python -m training.publish_space tester/space --model USER/NAME\n"
    assert capsys.readouterr().err == said


def test_front_matter_of_another_kind(root: Path, tmp_path: Path) -> None:
    for name in ("app.py", "requirements.txt", "LICENSE"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    (tmp_path / "gradio_ui").mkdir()
    with pytest.raises(PublishError, match=r"expected README.md"):
        space_files(tmp_path, ["tester/faces"])
    (tmp_path / "README.md").write_text("---\nsdk: docker\n---\n# app\n")
    with pytest.raises(PublishError, match="expected sdk: gradio"):
        space_files(tmp_path, ["tester/faces"])
