"""What keeps a run from going on wrongly, or from being told wrongly."""
