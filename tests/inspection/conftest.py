"""Tables that displays are drawn of."""

import pandas as pd
import pytest


@pytest.fixture
def houses(rng):
    area = rng.normal(120, 50, 200).clip(30, 400)
    bedrooms = rng.integers(1, 6, 200)
    price = 3 * area + 20 * bedrooms + rng.normal(0, 60, 200)
    return pd.DataFrame({"area": area, "bedrooms": bedrooms}), price


@pytest.fixture
def table(rng):
    X = rng.normal(size=(60, 3))
    return X, X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=60) + 4.0
