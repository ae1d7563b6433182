"""NXCloud triggers."""
