"""Chaos: simulated trading days of the whole local desk under every fault the specification names, drawn from one seed.

``kinds``, ``days`` and ``plan`` are pure: what goes wrong, when, on which days. ``stage`` holds the running desk, ``strike``
carries out, ``heal`` and ``person`` mend, ``proof`` looks whether everything still holds, ``report`` tells. Nothing here decides,
books or tells what the desk tells: it only disturbs what does, and compares.
"""
