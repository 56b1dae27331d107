"""Weights in folders of Hugging Face's layout, in and out."""
