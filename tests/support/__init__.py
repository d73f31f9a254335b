"""Helpers of the tests: servers, proxies, in-process functions."""
