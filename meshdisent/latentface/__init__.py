"""LatentFace: images to depth, albedo, light and pose without labels; identity told from expression by diffusion."""
