"""How often publishers, readers and strangers may ask. Source: snapshot specification, 5.1 and 5.5."""

from __future__ import annotations

from typing import Final

READS_PER_MINUTE: Final = 120
READS_AT_ONCE: Final = 60
STRANGERS_PER_MINUTE: Final = 12
POSTS_PER_MINUTE: Final = 300
POSTS_AT_ONCE: Final = 100
