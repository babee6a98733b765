"""Every exception the recognition engine raises on purpose.

Each message says what was expected, what came, and what to do next, so a caller may show it to a person as it is.
"""


class RecognitionError(Exception):
    """Base of all errors of the engine; catch this one to catch them all."""


class ImageError(RecognitionError, ValueError):
    """A picture cannot be used: unreadable, truncated, empty, of an unknown format, or larger than the limit."""


class VideoError(RecognitionError, ValueError):
    """A video cannot be used: missing, empty, no video, without pictures, damaged from the start, or over a limit."""


class ModelError(RecognitionError):
    """A model cannot be served: not found, no access, incomplete, or not an expression classifier."""


class HubUnreachableError(ModelError):
    """The Hub gives no answer, or breaks off, and its cache does not hold the model; other weights may stand in."""


class DetectorError(RecognitionError):
    """The face detector that was asked for cannot be had: its file is missing, corrupt or of another kind."""


class SaliencyError(RecognitionError):
    """A map of where the model looked cannot be made: a model of another kind or backend, or an unknown label."""
