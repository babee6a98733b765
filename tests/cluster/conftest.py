"""A Ray cluster of two nodes on this machine: two raylets, each with its own workers and its own object store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

MEMORY = 100 * 2**20  # bytes of an object store


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start the cluster; `cluster.address` is what --address takes."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # else its workers wait for all other tests
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        from ray.cluster_utils import Cluster

        nodes = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False},
        )
        try:
            nodes.add_node(num_cpus=1, object_store_memory=MEMORY)
            yield nodes
        finally:
            nodes.shutdown()
