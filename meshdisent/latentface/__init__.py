"""LatentFace: from photographs to shape, texture, light and pose of a face, and to who it is and what it does."""
