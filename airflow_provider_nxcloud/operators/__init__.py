"""NXCloud operators."""
