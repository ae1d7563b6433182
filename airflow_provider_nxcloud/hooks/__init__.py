"""NXCloud hooks."""
