"""NXCloud sensors."""
