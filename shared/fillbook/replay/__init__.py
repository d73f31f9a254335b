"""Room ``replay``: any stored day again, beside the live book, and where exactly two runs part."""
