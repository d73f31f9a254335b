"""One revision per SQL file of ``../../migrations``."""
