"""What all tests run under: no network, one thread, one seed, no progress bars."""

import os
import sys
from pathlib import Path

import hypothesis
import pytest

OFFLINE = str(Path(__file__).parent / "offline")

# Before anything imports torch: OpenMP reads this once. Kernels started by nbval inherit them all.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("POT_BACKEND_DISABLE_TENSORFLOW", "1")  # ten seconds that POT doesn't need
os.environ["MAPPING_PROGRESS"] = "0"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [OFFLINE, os.environ.get("PYTHONPATH")]))

if data := os.environ.get("MAPPING_DATA"):  # notebooks run in folders of their own
    os.environ["MAPPING_DATA"] = str(Path(data).expanduser().absolute())

sys.path.insert(0, OFFLINE)
import guard  # noqa: E402  (found through the line above)

guard.install()

# The same examples in every run: a failure here can be seen again elsewhere.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=40)
hypothesis.settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of the tests that read real data sets."""
    config.addinivalue_line(
        "markers", "real: reads a data set under MAPPING_DATA; skipped without it"
    )


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Begin each test with one state of torch's generator, whatever ran before on this worker."""
    import torch

    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, visibly, what needs MAPPING_DATA where it is not set."""
    if os.environ.get("MAPPING_DATA"):
        return
    skip = pytest.mark.skip(reason="MAPPING_DATA is not set: the real data sets are not here")
    for item in items:
        if item.get_closest_marker("real"):
            item.add_marker(skip)
