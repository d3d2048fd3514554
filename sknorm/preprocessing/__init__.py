"""Standardizers: scikit-learn transformers that bring columns to mean 0 and std 1."""

from sknorm.preprocessing._standardizer import Standardizer

__all__ = ["Standardizer"]
