"""A table of numbers and category codes, and a network for it."""

import pytest
import torch

from sknorm.nn.tabular import TabularNetwork

CARDINALITIES = [2, 30, 5]


def _table(n_rows=40, n_numeric=4, cardinalities=CARDINALITIES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randn(n_rows, n_numeric, generator=generator)]
    for cardinality in cardinalities:
        code = torch.randint(cardinality, (n_rows, 1), generator=generator)
        columns.append(code.float())
    return torch.cat(columns, dim=1)


def _network(seed=0, **kwargs):
    given = {"hidden_layer_sizes": (8, 6), "sample": _table(), **kwargs}
    return TabularNetwork(
        4, CARDINALITIES, 3, generator=torch.Generator().manual_seed(seed), **given
    )


@pytest.fixture
def table():
    """Rows of four numbers and codes of 2, 30 and 5 categories, or of others."""
    return _table


@pytest.fixture
def network():
    """A network for such rows with three outputs."""
    return _network
