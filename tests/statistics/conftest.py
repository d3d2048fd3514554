"""What is done to every summary."""

import copy
import pickle

import pytest


@pytest.fixture(
    params=[
        lambda summary: summary,
        copy.copy,
        copy.deepcopy,
        lambda summary: pickle.loads(pickle.dumps(summary)),
    ],
    ids=["fresh", "copied", "copied deep", "unpickled"],
)
def remake(request):
    """A way to come by a summary that says the same."""
    return request.param
