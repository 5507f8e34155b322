"""Fitting a trained morphable model to what was measured: scans, landmarks, photographs."""
