"""Files for other programs: meshes with a picture on them, as Blender, game engines and browsers read them."""
