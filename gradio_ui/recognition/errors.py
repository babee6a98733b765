"""Every exception that the recognition engine raises on purpose.

Each message says what was expected, what came, and what to do next, so a caller may show it to a person as it is.
"""


class RecognitionError(Exception):
    """Base of all errors of the engine; catch this one to catch them all."""


class ImageError(RecognitionError, ValueError):
    """An image cannot be used: unreadable, truncated, empty, of an unknown format, or larger than the limit."""


class VideoError(RecognitionError, ValueError):
    """A video cannot be used: missing, empty, no video, without frames, damaged from the start, or over a limit."""


class AbandonedError(RecognitionError):
    """Work was given up, since nobody waits for its result any more."""


class ModelError(RecognitionError):
    """A model cannot be served: not found, no access, incomplete, altered, or not an expression classifier."""


class HubUnreachableError(ModelError):
    """The Hub does not answer, or the download fails, and its cache lacks the model; other weights may stand in."""


class DetectorError(RecognitionError):
    """The face detector that was asked for cannot be loaded: its file is missing, corrupt or of another kind."""


class SaliencyError(RecognitionError):
    """A saliency map cannot be made: a model of another kind, an unknown label, or no such face."""


class StorageError(RecognitionError):
    """An address cannot be read or written, or what lies there is not what was expected."""


class WorkerError(RecognitionError):
    """A worker of a corpus does not start, or nobody wants its work any more."""
