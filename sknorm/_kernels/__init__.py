"""The hot loops over arrays: tiles that stay in cache, float64 inside."""
