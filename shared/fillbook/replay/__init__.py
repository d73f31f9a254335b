<<<<<<< HEAD
"""Room ``replay``: any stored day again, beside the live book, and where exactly two runs part."""
=======
"""Room ``replay``: any stored day run again beside the live book, and where two runs part."""
>>>>>>> replayrun
