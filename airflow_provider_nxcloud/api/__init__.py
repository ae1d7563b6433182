"""NXCloud's API: signed calls, what their responses mean, how fast they may come."""
