"""Where media files go: a verified staged file becomes one complete object."""
