"""Backends that run a checkpoint: PyTorch through transformers, or onnxruntime alone. Both see the same pixels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args

import numpy as np

from .checkpoint import WEIGHTS, model_name, read_preprocessor, verify_files
from .errors import ModelError
from .image_processor import ImageProcessor
from .onnx_session import THREADS, cores, cpu_session, import_onnxruntime
from .quiet import quiet_loading
from .saliency import gradient_map, occlusion_map
from .telemetry import disable_telemetry

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

BackendName: TypeAlias = Literal["auto", "torch", "onnxruntime"]
ONNX_FILE = "onnx/model.onnx"  # where transformers.js looks for it
# Up to this size of a file each core takes a part of the faces. The layers of a larger network are worth sharing.
SHARED_BYTES = 64 * 2**20
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the weights of PIL's convert("L"); they sum to 1

_log = logging.getLogger(__name__)


class Backend(Protocol):
    """What runs a classifier. Safe to call from several threads.

    Attributes:
        name: "torch" or "onnxruntime".
        side: of the model's input in pixels, the longer one.
    """

    name: str

    @property
    def side(self) -> int: ...

    def saliency(self, crop: np.ndarray, target: int) -> np.ndarray:
        """Map how much each part of an RGB uint8 crop (h, w, 3) spoke for an output: (rows, columns) float32, >= 0."""
        ...

    def __call__(self, crops: Sequence[np.ndarray], *, flip: bool = False) -> np.ndarray:
        """Compute (n, C) float32 logits of n > 0 RGB uint8 crops (h, w, 3) of any sizes, in one forward pass.

        With `flip` (2 n, C), where the second half is of the mirror images.
        """
        ...


class TorchBackend:
    """A stock transformers classifier with its own image processor.

    Args:
        model: in eval mode, on the device to use.
        image_processor: the one saved with it.
    """

    name = "torch"

    def __init__(self, model: PreTrainedModel, image_processor: BaseImageProcessor) -> None:
        self.model = model
        self.image_processor = image_processor

    @property
    def side(self) -> int:
        """See `Backend`."""
        processor: Any = self.image_processor
        return max(pixels for pixels in dict(processor.size).values() if pixels)

    @classmethod
    def from_pretrained(cls, folder: Path, device: str | None = None) -> TorchBackend:
        """Load a checkpoint in float32.

        Args:
            folder: with config.json, preprocessor_config.json and model.safetensors.
            device: a torch device; without it the accelerator where there is one, otherwise the CPU.

        Raises:
            ModelError: a file is corrupt or differs from its checksum, the weights do not fit the config, or the
                image processor not the model.
        """
        read_preprocessor(folder)
        verify_files(folder, *sorted(file.name for file in folder.glob("model*.safetensors*")))
        disable_telemetry()
        import torch
        from safetensors import SafetensorError
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        name = model_name(folder)
        try:
            image_processor = AutoImageProcessor.from_pretrained(folder, **local)
            with quiet_loading():
                model, loading = AutoModelForImageClassification.from_pretrained(
                    folder,
                    use_safetensors=True,
                    dtype=torch.float32,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # to name them below
                    **local,
                )
        except SafetensorError as error:
            raise ModelError(f"{name}: model.safetensors is damaged ({error}). Download it again.") from None
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"{name} cannot be loaded as an image classifier: {error}") from error
        # transformers fills what is missing or of another shape with random numbers, and drops what is unexpected.
        for problem, keys in (
            ("lacks {} of the weights that config.json calls for", loading["missing_keys"]),
            ("has other shapes for {} of the weights that config.json calls for", loading["mismatched_keys"]),
            ("has {} weights that config.json does not call for", loading["unexpected_keys"]),
        ):
            if keys:
                raise ModelError(
                    f"{name}: {WEIGHTS} {problem.format(len(keys))}, such as {min(keys)}. "
                    "The two files do not belong together; package or download them again."
                )
        if device is None:
            accelerator = torch.accelerator.current_accelerator(check_available=True)
            device = "cpu" if accelerator is None else accelerator.type
        backend = cls(model.eval().to(device), image_processor)
        try:
            logits = backend([np.zeros((64, 64, 3), np.uint8)])
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelError(
                f"{name}: preprocessor_config.json does not fit the model, "
                f"which must take RGB or grayscale images: {error}"
            ) from error
        _require_finite(logits, f"{name}: {WEIGHTS}")
        return backend

    def saliency(self, crop: np.ndarray, target: int) -> np.ndarray:
        """See `Backend`; from gradients.

        Raises:
            SaliencyError: the model is of a kind that gives no map.
        """
        return gradient_map(self.model, self.pixel_values([crop]), target).cpu().numpy()

    def pixel_values(self, crops: Sequence[np.ndarray]) -> Any:
        """Make the model's input as `pipeline` would: a tensor (n, 3, H, W) float32 on its device.

        For a model of grayscale images it is (n, 1, H, W).
        """
        from PIL import Image

        # PIL images, as in the pipeline: of a bare (3, w, 3) array transformers would have to guess the channels.
        images = [Image.fromarray(crop) for crop in crops]
        pixels = self.image_processor(images=images, return_tensors="pt")["pixel_values"]
        if getattr(self.model.config, "num_channels", 3) == 1:  # by linearity, the crop's grayscale version
            pixels = (pixels * pixels.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        return pixels.to(self.model.device)

    def __call__(self, crops: Sequence[np.ndarray], *, flip: bool = False) -> np.ndarray:
        """See `Backend`."""
        import torch

        pixels = self.pixel_values(crops)
        if flip:
            pixels = torch.cat([pixels, pixels.flip(-1)])
        with torch.inference_mode():
            return self.model(pixel_values=pixels).logits.float().cpu().numpy()


class OnnxBackend:
    """The ONNX export of a checkpoint on the CPU. Loads neither torch nor transformers.

    Args:
        folder: with preprocessor_config.json and the ONNX file, as `training.export` writes it.
        outputs: how many logits the model must give, one for each label.
        file: the ONNX file in it.

    Attributes:
        image_processor: crops -> `pixel_values` (n, 3, H, W) float32.

    Raises:
        ModelError: the file is missing, corrupt, for another model or a newer runtime, or the image processor is one
            that needs transformers.
    """

    name = "onnxruntime"

    def __init__(self, folder: Path, outputs: int, file: str = ONNX_FILE) -> None:
        onnxruntime = import_onnxruntime()
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        name = model_name(folder)
        if not (folder / file).is_file():
            raise ModelError(f"{name} has no {file}. Write it with training.export, or use the backend torch.")
        self.image_processor = ImageProcessor(read_preprocessor(folder))
        expected = f"pixel_values (n, 3, {', '.join(map(str, self.image_processor.size))}) to logits (n, {outputs})"
        try:
            shared = (folder / file).stat().st_size <= SHARED_BYTES and cores() > 1
            self._session = cpu_session(folder / file, 1 if shared else THREADS)
            self._pool = ThreadPoolExecutor(cores(), "classifier") if shared else None
            for n in (1, 2):  # also that the batch is free
                logits = self([np.zeros((64, 64, 3), np.uint8)] * n)
                if logits.shape != (n, outputs):
                    raise ValueError(f"{n} crops gave an output of shape {logits.shape}")
        except (errors.InvalidProtobuf, errors.InvalidGraph, errors.Fail, errors.NotImplemented) as error:
            raise ModelError(
                f"{name}: onnxruntime {onnxruntime.__version__} cannot read {file}, which is damaged or needs "
                f"a newer version ({error}). Export or download it again, or use the backend torch."
            ) from None
        except (errors.InvalidArgument, errors.RuntimeException, ValueError) as error:
            raise ModelError(
                f"{name}: {file} is of another model than config.json and preprocessor_config.json. "
                f"Expected {expected}, got: {str(error).rstrip('.')}. Export it again with training.export."
            ) from None
        _require_finite(logits, f"{name}: {file}")

    @property
    def side(self) -> int:
        """See `Backend`."""
        return max(self.image_processor.size)

    def saliency(self, crop: np.ndarray, target: int) -> np.ndarray:
        """See `Backend`; by occlusion, without PyTorch."""
        return occlusion_map(self.logits, self.image_processor([crop]), target)

    def __call__(self, crops: Sequence[np.ndarray], *, flip: bool = False) -> np.ndarray:
        """See `Backend`."""
        pixels = self.image_processor(crops)
        return self.logits(np.concatenate([pixels, pixels[..., ::-1]]) if flip else pixels)

    def logits(self, pixel_values: np.ndarray) -> np.ndarray:
        """Compute (n, C) float32 logits of (n, 3, H, W) float32 pixel values."""
        if self._pool is None or len(pixel_values) == 1:
            return self._run(pixel_values)
        own, *others = np.array_split(pixel_values, min(THREADS, cores(), len(pixel_values)))
        running = [self._pool.submit(self._run, part) for part in others]
        return np.concatenate([self._run(own), *(part.result() for part in running)])

    def _run(self, pixel_values: np.ndarray) -> np.ndarray:
        return self._session.run(["logits"], {"pixel_values": pixel_values})[0]


def load_backend(folder: Path, outputs: int, name: BackendName = "auto", device: str | None = None) -> Backend:
    """Load what runs a checkpoint.

    Args:
        folder: the checkpoint.
        outputs: how many labels it has.
        name: "torch", "onnxruntime", or "auto": onnxruntime where the folder holds its file and `device` does not
            name an accelerator, otherwise torch; also torch, with a warning, where that file does not work.
        device: a torch device.

    Raises:
        ModelError: the backend is unknown, does not run on the device, or cannot load the checkpoint, or a file
            differs from its checksum.
    """
    if name not in get_args(BackendName):
        raise ModelError(f"Unknown backend {name!r}. Choose {', '.join(get_args(BackendName))}.")
    on_cpu = device in (None, "cpu")
    if name == "onnxruntime" and not on_cpu:
        raise ModelError(f"The backend onnxruntime runs on the CPU, not on {device}. Use the backend torch there.")
    if name == "torch" or (name == "auto" and not (on_cpu and (folder / ONNX_FILE).is_file())):
        return TorchBackend.from_pretrained(folder, device)
    if (folder / ONNX_FILE).is_file():
        verify_files(folder, ONNX_FILE)  # a package that was altered is refused, not passed over
    try:
        return OnnxBackend(folder, outputs)
    except ModelError as error:
        if name == "onnxruntime":
            raise
        _log.warning("PyTorch serves the model instead of onnxruntime: %s", error)
        return TorchBackend.from_pretrained(folder, device)


def _require_finite(logits: np.ndarray, file: str) -> None:
    if not np.isfinite(logits).all():
        raise ModelError(f"{file} gives values that are no numbers. It is damaged; package or download it again.")
