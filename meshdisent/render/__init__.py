"""Pictures that gradients flow through: cameras, triangles to pixels, light, and rendered faces with their truth."""
