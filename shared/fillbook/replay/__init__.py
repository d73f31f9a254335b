"""Room ``replay``: any stored day run again beside the live book, and where two runs part."""
