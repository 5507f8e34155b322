"""What people look at: pictures of faces, sheets, curves, animations and reports. Numpy arrays in, files out."""
