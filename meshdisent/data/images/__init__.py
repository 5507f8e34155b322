"""Data sets of face images: how they lie on disk, how they become images.h5, and how that is read."""
