"""The local cloud: everything outside the house, on this machine."""
