"""Torch modules, and the tables they are made from, for those who build their own."""
