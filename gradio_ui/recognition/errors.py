"""Every exception the recognition engine raises on purpose.

Each message says what was expected, what came, and what to do next, so a caller may show it to a person as it is.
"""


class RecognitionError(Exception):
    """Base of all errors of the engine; catch this one to catch them all."""


class ImageError(RecognitionError, ValueError):
    """A picture cannot be used: unreadable, truncated, empty, of an unknown format, or larger than the limit."""


class ModelError(RecognitionError):
    """A model cannot be served: not found, no access, incomplete, or not an expression classifier."""


class DetectorError(RecognitionError):
    """The face detector that was asked for cannot be had: its file is missing, corrupt or of another kind."""
