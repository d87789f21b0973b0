"""What every test can have."""

import pytest

from dots import MakeSample, make_sample_function


@pytest.fixture
def make_sample() -> MakeSample:
    return make_sample_function()
