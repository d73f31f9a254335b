"""Room ``tracker``: one read model for every screen. It reads views only and never changes what it shows."""
