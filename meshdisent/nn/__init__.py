"""Layers of networks; each file opens with its equation."""
