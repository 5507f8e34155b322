"""Scans on disk and how they come to be: layouts, preparation, one file, splits, samplers, synthetic heads."""
