"""Fillbook's domain package: one room per capability, vendored into every function's bundle.

It refuses to be a framework: rooms import downwards only (see infra/docs/architecture.md) and nothing runs at import.
"""
