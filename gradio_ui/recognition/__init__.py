"""The headless engine: pixels in, apparent expressions out. Imports neither gradio nor training.

Importing it loads neither torch nor OpenCV nor transformers; the functions that need them do.
"""

from .classifier import Classifier
from .crop import crop_face
from .detector import Detector, WholeImageDetector, YuNetDetector, load_detector
from .errors import DetectorError, HubUnreachableError, ImageError, ModelError, RecognitionError, SaliencyError
from .hub import ModelSource, resolve_model
from .image_io import read_image
from .recognizer import EmotionRecognizer
from .types import Faces, Recognition

__all__ = [
    "Classifier",
    "Detector",
    "DetectorError",
    "EmotionRecognizer",
    "Faces",
    "HubUnreachableError",
    "ImageError",
    "ModelError",
    "ModelSource",
    "Recognition",
    "RecognitionError",
    "SaliencyError",
    "WholeImageDetector",
    "YuNetDetector",
    "crop_face",
    "load_detector",
    "read_image",
    "resolve_model",
]
