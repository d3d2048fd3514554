import narwhals as nw
import pandas as pd
import polars as pl
import pytest

from sknorm._frames import refuse_lazy_frame


@pytest.mark.parametrize(
    ("query", "library"),
    [
        (pl.LazyFrame({"a": [1.0]}), "polars"),
        (nw.from_native(pl.LazyFrame({"a": [1.0]})), "narwhals"),
    ],
    ids=["Polars", "narwhals"],
)
def test_a_query(query, library):
    message = rf"Got a 'LazyFrame' of {library!r}, which is a query: pass X.collect\(\)"
    with pytest.raises(TypeError, match=message):
        refuse_lazy_frame(query)


@pytest.mark.parametrize("table", [pl.DataFrame({"a": [1.0]}), pd.DataFrame(), [[1.0]]])
def test_tables_pass(table):
    refuse_lazy_frame(table)
