"""The progress bar."""

import numpy as np

from sknorm.neural_network import NormMLPRegressor


def test_bar_counts_epochs_and_shows_losses(capsys, rng, monkeypatch):
    # Wide enough for both losses.
    monkeypatch.setenv("COLUMNS", "200")
    X = rng.standard_normal((20, 2))
    NormMLPRegressor((4,), max_epochs=3, verbose=1, early_stopping=True).fit(X, X[:, 0])
    error = capsys.readouterr().err
    assert "NormMLPRegressor" in error
    assert "3/3" in error
    assert "train_loss=" in error
    assert "valid_loss=" in error


def test_verbose_two_prints_a_line_an_epoch(capsys, rng):
    X = rng.standard_normal((20, 2))
    NormMLPRegressor((4,), max_epochs=3, verbose=2).fit(X, X[:, 0])
    lines = capsys.readouterr().out.splitlines()
    assert "train_loss" in lines[0]
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "3"]


def test_silent_by_default(capsys):
    NormMLPRegressor((4,), max_epochs=2).fit(np.eye(3), [1.0, 2.0, 3.0])
    assert capsys.readouterr() == ("", "")
