"""The verbs behind ``infra/dev.py``, one module each; they run inside the environment the door has made."""
