"""Ways to make the exported model smaller or faster: size, accuracy on `validation`, agreement, speed.

    python -m tests.benchmarks.export_trials --dataset fer2013.csv [--only int8 "4-bit weights"] [--record]

Each variant is made from the shipped onnx/model.onnx, or in PyTorch where onnxruntime has no kernels for it, and runs
through the engine that would serve it. Nothing in the package changes: what `training.export` ships is one of these.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from gradio_ui.recognition.backends import ONNX_FILE, Backend, OnnxBackend, TorchBackend
from gradio_ui.recognition.classifier import labels_of
from gradio_ui.recognition.onnx_session import import_onnxruntime
from tests.benchmarks.record import ROOT, describe, machine, record, summary, take_turns
from training.data.load import load_fer
from training.evaluation.predictions import references
from training.export import export_onnx, predict
from training.export import images_of as read_images
from training.network.onnx_files import quantize_dynamic, quantize_static

SPLIT = "validation"
BATCH = 32
CALIBRATION = 512  # pictures

Maker = Callable[[Path, Path, Sequence[np.ndarray]], None]  # float file, file to write, calibration batches


def static(**changes: Any) -> Maker:
    """Quantize to static int8 as `training.export --int8 static` does, but for these changes."""
    return lambda source, path, batches: quantize_static(source, path, batches, **changes)


def dynamic(tanh_gelu: bool) -> Maker:
    """Quantize as `training.export` does, with either kind of GELU."""
    return lambda source, path, _: quantize_dynamic(source, path, tanh_gelu=tanh_gelu)


def weights_only(bits: int) -> Maker:
    """Store the weights of the matrix products in blocks of 32 of so many bits; arithmetic in float."""

    def make(source: Path, path: Path, _: Sequence[np.ndarray]) -> None:
        import onnx

        import_onnxruntime()
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        quantizer = MatMulNBitsQuantizer(onnx.load(source), bits=bits, block_size=32, is_symmetric=True)
        quantizer.process()
        quantizer.model.save_model_to_file(str(path))

    return make


def half(source: Path, path: Path, _: Sequence[np.ndarray]) -> None:
    """float16 weights, cast to float32 when the model is loaded: half the download, the same arithmetic."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(source)
    for weight in [w for w in model.graph.initializer if w.data_type == TensorProto.FLOAT and len(w.dims) > 1]:
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), f"{name}.half"))
        model.graph.node.insert(0, helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    onnx.save(model, path)


class AutocastBackend(TorchBackend):
    """PyTorch with bfloat16 products; onnxruntime has none on x86."""

    name = "torch, bfloat16"

    def __call__(self, crops: Sequence[np.ndarray], *, flip: bool = False) -> np.ndarray:
        import torch

        with torch.autocast("cpu", torch.bfloat16):
            return super().__call__(crops, flip=flip)


def pruned(folder: Path, share: float, path: Path, size: tuple[int, int]) -> None:
    """Set this share of the smallest weights of each matrix product to zero, without training after it."""
    import torch
    from torch.nn.utils import prune

    model = TorchBackend.from_pretrained(folder, "cpu").model
    for layer in (module for module in model.modules() if isinstance(module, torch.nn.Linear)):
        prune.l1_unstructured(layer, "weight", share)
        prune.remove(layer, "weight")
    export_onnx(model, size, path)


VARIANTS: dict[str, Maker] = {
    "int8": static(),
    "int8, a scale for each tensor": static(per_channel=False),
    "int8, activations uint8": static(unsigned=True),
    "int8, convolutions too": static(op_types=("MatMul", "Conv")),
    "int8, ranges at run time": dynamic(tanh_gelu=True),
    "int8, ranges at run time, GELU by erf": dynamic(tanh_gelu=False),
    "8-bit weights": weights_only(8),
    "4-bit weights": weights_only(4),
    "float16 weights": half,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "model_card" / "fer2013")
    parser.add_argument("--dataset", required=True, help="CSV, folder or Hub id with a train and a validation split")
    parser.add_argument("--only", nargs="+", help="names of variants")
    parser.add_argument("--images", type=int, help="the first so many of validation; default: all")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--record", action="store_true", help="put the figures into results.json")
    options = parser.parse_args()
    measured_on = machine()
    folder = options.model.resolve()

    stock = TorchBackend.from_pretrained(folder, "cpu")
    labels = labels_of(stock.model.config.to_dict())
    data = load_fer(options.dataset)
    y, _ = references(data[SPLIT], labels, "fer2013")
    rows = np.flatnonzero(y >= 0)[: options.images]
    images, y = read_images(data[SPLIT].select(rows)), y[rows]
    chosen = np.random.default_rng(0).permutation(len(data["train"]))[:CALIBRATION]
    calibration = read_images(data["train"].select(chosen))
    size = (stock.pixel_values(images[:1]).shape[2], stock.pixel_values(images[:1]).shape[3])

    with tempfile.TemporaryDirectory() as scratch:
        exact = OnnxBackend(folder, len(labels))
        batches = [exact.image_processor(calibration[i : i + BATCH]) for i in range(0, len(calibration), BATCH)]
        stock.image_processor.save_pretrained(scratch)
        backends: dict[str, Backend] = {"float32": exact}
        sizes = {"float32": (folder / ONNX_FILE).stat().st_size}

        def add(name: str, make: Callable[[Path], None]) -> None:
            if options.only and name not in options.only:
                return
            path = Path(scratch) / f"{len(backends)}.onnx"
            try:
                make(path)
                backends[name] = OnnxBackend(Path(scratch), len(labels), path.name)
                sizes[name] = path.stat().st_size
            except Exception as error:  # a trial that fails is a result, too
                print(f"{name}: {type(error).__name__}: {error}")

        for name, maker in tqdm(VARIANTS.items(), desc="making", leave=False):
            add(name, lambda path, maker=maker: maker(folder / ONNX_FILE, path, batches))
        for share in (0.5, 0.7):
            add(f"{share:.0%} of the weights zero", lambda path, share=share: pruned(folder, share, path, size))
        if not options.only or AutocastBackend.name in options.only:
            backends[AutocastBackend.name] = AutocastBackend(stock.model, stock.image_processor)
            sizes[AutocastBackend.name] = (folder / "model.safetensors").stat().st_size // 2

        probabilities = {name: predict(backend, images) for name, backend in backends.items()}
        one = take_turns({name: lambda b=b: b(images[:1]) for name, b in backends.items()}, options.rounds)
        many = take_turns({name: lambda b=b: b(images[:BATCH]) for name, b in backends.items()}, options.rounds)

    reference = probabilities["float32"].argmax(axis=1)
    results = [
        {
            "variant": name,
            "megabytes": round(sizes[name] / 1e6, 2),
            "accuracy": round(float((probabilities[name].argmax(axis=1) == y).mean()), 4),
            "agreement": round(float((probabilities[name].argmax(axis=1) == reference).mean()), 4),
            "one_ms": summary(one[name])["median"],
            f"of_{BATCH}_ms": round(summary(many[name])["median"] / BATCH, 3),
        }
        for name in backends
    ]
    print(describe(measured_on))
    print(f"{'':34} {'MB':>6} {'accuracy':>9} {'agreement':>10} {'ms, 1 face':>11} {f'ms, 1 of {BATCH}':>11}")
    for row in results:
        variant, megabytes, accuracy, agreement, alone, together = row.values()
        print(f"{variant:34} {megabytes:6.2f} {accuracy:9.4f} {agreement:10.4f} {alone:11.2f} {together:11.2f}")
    if options.record:
        record("export_trials", {"images": len(y), "rounds": options.rounds, "results": results}, measured_on)


if __name__ == "__main__":
    main()
