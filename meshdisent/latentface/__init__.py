"""LatentFace: shape, texture, light, view and identity of a face from one image, learned without labels."""
