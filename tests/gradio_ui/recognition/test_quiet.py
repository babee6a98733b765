"""Loading a model prints nothing, and leaves the logging of transformers as it was."""

import logging

import pytest
from transformers import AutoModelForImageClassification
from transformers.utils import logging as library
from transformers.utils.import_utils import logger as fallbacks

from gradio_ui.recognition.quiet import hide_torchvision_advice, quiet_loading


def test_loading_shows_no_bar(model_folder, capfd):
    library.enable_progress_bar()
    AutoModelForImageClassification.from_pretrained(model_folder)
    assert "Loading weights" in capfd.readouterr().err
    with quiet_loading():
        AutoModelForImageClassification.from_pretrained(model_folder)
    assert capfd.readouterr().err == ""
    AutoModelForImageClassification.from_pretrained(model_folder)
    assert "Loading weights" in capfd.readouterr().err  # as before


def test_mismatched_keys_print_no_table(model_folder, caplog):
    options = {"num_labels": 3, "ignore_mismatched_sizes": True, "output_loading_info": True}
    with quiet_loading():
        _, found = AutoModelForImageClassification.from_pretrained(model_folder, **options)
    assert {key for key, *_ in found["mismatched_keys"]} == {"classifier.weight", "classifier.bias"}
    assert "LOAD REPORT" not in caplog.text
    AutoModelForImageClassification.from_pretrained(model_folder, **options)
    assert "LOAD REPORT" in caplog.text


@pytest.mark.parametrize("message, shown", [("`X` requires torchvision (not installed)", False), ("another", True)])
def test_only_advice_on_torchvision_is_hidden(message, shown, caplog, monkeypatch):
    monkeypatch.setattr(fallbacks, "filters", [])
    hide_torchvision_advice()
    hide_torchvision_advice()
    with caplog.at_level(logging.WARNING):
        fallbacks.warning(message)
    assert (message in caplog.text) == shown
    assert len([f for f in fallbacks.filters if "torchvision" in f.__name__]) == 1
