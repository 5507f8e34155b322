"""Geometry of faces: numpy in, numpy out; knows nothing of torch, HDF5, faces or models."""
