"""A run as one page: what it learned, how, and on what."""
