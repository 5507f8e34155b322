"""Runs where ``bpy`` is: opens a GLB, sets shape keys, and writes what Blender makes of it as plain arrays."""

import json
import sys

import bpy
import mathutils
import numpy as np


def places(item) -> np.ndarray:
    """(V, 3) Vertices as they are drawn, in meters, with all shape keys at work."""
    drawn = item.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
    flat = np.empty(3 * len(drawn.vertices), dtype=np.float32)
    drawn.vertices.foreach_get("co", flat)
    return flat.reshape(-1, 3).astype(np.float64)


def render(path: str) -> None:
    """A portrait by Cycles, on the processor."""
    scene, camera, light = bpy.context.scene, bpy.data.cameras.new("camera"), bpy.data.lights.new("light", "AREA")
    for thing, place in ((camera, (0.0, -0.75, -0.02)), (light, (0.4, -0.6, 0.5))):
        placed = bpy.data.objects.new(thing.name, thing)
        placed.location = place
        placed.rotation_euler = (-mathutils.Vector(place)).to_track_quat("-Z", "Y").to_euler()
        scene.collection.objects.link(placed)
        scene.camera = scene.camera or placed
    camera.lens, light.energy, light.size = 55, 8, 0.3
    scene.world = bpy.data.worlds.new("world")
    scene.world.color = (0.6, 0.6, 0.65)
    scene.render.engine, scene.cycles.device, scene.cycles.samples = "CYCLES", "CPU", 24
    scene.render.resolution_x, scene.render.resolution_y, scene.render.filepath = 420, 520, path
    bpy.ops.render.render(write_still=True)


def main(glb: str, asked: str, found: str, picture: str | None = None) -> None:
    """Open, pose, measure."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=glb)
    (item,) = [item for item in bpy.data.objects if item.type == "MESH"]
    keys = item.data.shape_keys
    frames = keys.animation_data.action.frame_range[:]
    keys.animation_data_clear()
    faces = []
    with open(asked, encoding="utf-8") as file:
        poses = json.load(file)
    for pose in poses:
        for key in keys.key_blocks[1:]:
            key.value = pose.get(key.name, 0.0)
        bpy.context.view_layer.update()
        faces.append(places(item))
    shaders = [node for m in item.data.materials for node in m.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]
    np.savez(
        found,
        version=bpy.app.version_string,
        names=[key.name for key in keys.key_blocks],
        frames=np.array(frames),
        metallic=np.array([node.inputs["Metallic"].default_value for node in shaders]),
        has_colors=any(node.inputs["Base Color"].is_linked for node in shaders),
        places=np.stack(faces),
    )
    if picture:
        render(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
