"""Whole models, each readable from top to bottom in one file, and the contract that they share."""
