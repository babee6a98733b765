"""Pictures of the page at work, for the README."""
