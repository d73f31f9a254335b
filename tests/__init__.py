"""The tests as a package, so that `tests.support` is ours even where a dependency installed a `tests` of its own."""
