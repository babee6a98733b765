"""app.py as a child process, for whatever measures it from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.benchmarks.record import ROOT
from tests.support.browser import free_port

START_S, STOP_S = 120, 20  # at most


@contextmanager
def running_app(*flags: str, log: int = subprocess.DEVNULL, **environ: str) -> Iterator[tuple[str, psutil.Process]]:
    """Start app.py on a free port of loopback, wait until its page answers, and end it afterwards.

    Args:
        *flags: of app.py.
        log: where its standard error goes: a file descriptor.
        **environ: variables on top of this process's own.

    Yields:
        The address of the page, and the process.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port), *flags],
        cwd=ROOT,
        env=os.environ | environ,
        stdout=subprocess.DEVNULL,
        stderr=log,
    ) as app:
        try:
            _wait_for(url, app)
            yield url, psutil.Process(app.pid)
        finally:
            app.terminate()
            try:
                app.wait(STOP_S)
            except subprocess.TimeoutExpired:
                app.kill()


def _wait_for(url: str, app: subprocess.Popen[bytes]) -> None:
    start = time.perf_counter()
    while True:
        try:
            urllib.request.urlopen(url, timeout=START_S).close()
        except OSError:
            if app.poll() is not None or time.perf_counter() - start > START_S:
                sys.exit("error: app.py does not start; see its message above")
            time.sleep(0.02)
        else:
            return
