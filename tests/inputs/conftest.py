"""What tests of any input share: a count of what was tried, and hypothesis that is the same each time."""

import atexit
import tempfile
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, configuration, settings

from tests.inputs.kit import TIMES
from tests.inputs.tally import NAME, Tally

# What hypothesis writes down of Unicode and of our constants: gone with the process.
HOME = tempfile.TemporaryDirectory(prefix="hypothesis-")
atexit.register(HOME.cleanup)
configuration.set_hypothesis_home_dir(HOME.name)
settings.register_profile(
    "inputs",
    derandomize=TIMES == 1,  # the gate is the same each time; a long run looks elsewhere
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("inputs")


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    """Count what a test tries; its report carries the counts to the end of the run."""
    tally = Tally()
    record_property(NAME, tally.counts)
    return tally
