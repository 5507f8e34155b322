"""Fitting trained models to what was seen of a face: raw scans, landmarks in space and in pictures, and photographs."""
