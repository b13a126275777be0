"""Output formats of the tables."""
