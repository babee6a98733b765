"""The ids of browser sessions, checked before anything is kept for one."""

from __future__ import annotations

import re
from typing import Any

from gradio_ui.recognition.errors import RecognitionError

_SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")  # Gradio's page sends 10 or 11 characters, its client a UUID


class RequestError(RecognitionError, ValueError):
    """Raised when the page, or a program in its place, sends something other than it should."""


def parse_session(session: Any) -> str:
    """Check the id of a browser session.

    Raises:
        RequestError: it is no text of 1 to 64 letters, digits, hyphens and underscores.
    """
    if not isinstance(session, str) or not _SESSION.fullmatch(session):
        raise RequestError("session_hash: expected 1 to 64 letters, digits, hyphens and underscores; reload the page")
    return session
