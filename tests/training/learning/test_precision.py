"""bfloat16 where the CPU computes it natively, float32 elsewhere, and one line that says so."""

import json
import re
from pathlib import Path

import pytest
import torch

from training.learning.arguments import parse_arguments
from training.learning.precision import Processor, explain_precision
from training.train import train

AVX2 = {"avx": True, "avx2": True, "cpu_name": "Old CPU"}
ZEN4 = AVX2 | {"avx512_f": True, "avx512_bf16": True}


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"):
        monkeypatch.delenv(name, raising=False)


def pretend(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object]) -> None:
    """Let PyTorch report another CPU."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)


@pytest.mark.parametrize(
    "capabilities, native",
    [
        (AVX2, False),
        (AVX2 | {"avx512_f": True, "avx512_vnni": True}, False),  # twice as slow as float32
        (ZEN4, True),
        (ZEN4 | {"avx512_bf16": False, "amx_bf16": True}, True),
        ({"neon": True, "bf16": False}, False),
        ({"neon": True, "bf16": True}, True),
    ],
)
def test_native_bfloat16_by_cpu(
    capabilities: dict[str, object], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, capabilities)
    assert Processor.read().native_bfloat16 == native
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)  # as on macOS
    assert not Processor.read().native_bfloat16


@pytest.mark.parametrize(
    "name, value, native",
    [
        ("ONEDNN_MAX_CPU_ISA", "AVX2", False),
        ("ONEDNN_MAX_CPU_ISA", "avx512_core_vnni", False),
        ("DNNL_MAX_CPU_ISA", "AVX2", False),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", True),
        ("ONEDNN_MAX_CPU_ISA", "DEFAULT", True),
        ("ATEN_CPU_CAPABILITY", "avx2", True),  # products and convolutions stay with oneDNN
    ],
)
def test_limits_of_onednn_count(name: str, value: str, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, ZEN4)
    monkeypatch.setenv(name, value)
    processor = Processor.read()
    assert (processor.native_bfloat16, processor.limits) == (native, {name: value})
    assert str(processor) == f"Old CPU (avx, avx2, avx512_f, avx512_bf16, limited by {name}={value})"


def test_recipe_gives_way_to_the_cpu_and_a_flag_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"dataset": "x", "bf16": True, "use_cpu": True}))
    for capabilities, flags, expected in (
        (ZEN4, [], True),
        (ZEN4, ["--bf16", "false"], False),
        (AVX2, [], False),
        (AVX2, ["--bf16", "true"], True),
        (AVX2, ["--bf16=true"], True),
        (AVX2, ["--bf16"], True),
    ):
        pretend(monkeypatch, capabilities)
        *_, args = parse_arguments([str(recipe), *flags])
        assert (args.bf16, args.mixed_precision) == (expected, "bf16" if expected else "no"), (capabilities, flags)


@pytest.mark.parametrize(
    "bfloat16, device, capabilities, line",
    [
        (True, "cpu", ZEN4, r"precision: bfloat16; Old CPU \(.*avx512_bf16\) computes bfloat16 natively$"),
        (False, "cpu", ZEN4, r"precision: float32; .* computes bfloat16 natively; --bf16 true is faster$"),
        (False, "cpu", AVX2, r"precision: float32; Old CPU \(avx, avx2\) has no bfloat16 instructions$"),
        (True, "cpu", AVX2, r"warning: .*bfloat16 as asked for, but Old CPU .*\(--bf16 false\) would be several"),
        (True, "cuda", AVX2, r"precision: bfloat16 on cuda$"),
    ],
)
def test_one_line_says_which_and_why(
    bfloat16: bool, device: str, capabilities: dict[str, object], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, capabilities)
    said = explain_precision(bfloat16, torch.device(device), Processor.read())
    assert re.match(line, said) and "\n" not in said


def test_float32_run_never_computes_in_bfloat16(
    tiny_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise AssertionError("something computes in bfloat16")

    pretend(monkeypatch, AVX2)
    monkeypatch.setattr(torch.Tensor, "bfloat16", refuse)  # as the library's Muon does
    recipe = tmp_path / "recipe.json"
    sizes = {"hidden_sizes": [8, 16], "depths": [1, 1], "patch_size": 4, "per_device_train_batch_size": 14}
    recipe.write_text(json.dumps(sizes | {"bf16": True, "muon_learning_rate": 0.02, "use_cpu": True}))
    flags = ["--dataset", str(tiny_csv), "--output_dir", str(tmp_path), "--max_steps", "2", "--report_to", "none"]
    train(*parse_arguments([str(recipe), *flags]))
    said = [line for line in capsys.readouterr().err.splitlines() if "precision" in line]
    assert said == ["precision: float32; Old CPU (avx, avx2) has no bfloat16 instructions"]
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["processor"] == {
        "name": "Old CPU",
        "instructions": ["avx", "avx2"],
        "limits": {},
        "native_bfloat16": False,
    }
    assert record["arguments"]["training"]["bf16"] is False
