"""Small meshes that tests are made of; reached through the fixture ``shapes``."""

import numpy as np

Mesh = tuple[np.ndarray, np.ndarray]


def grid(rows: int, columns: int, hole: bool = False, bumps: float = 0.0, seed: int = 0) -> Mesh:
    """A rectangle of squares, each cut in two, facing +z; for a hole its middle square is left out."""
    y, x = np.mgrid[: rows + 1, : columns + 1]
    height = bumps * np.random.default_rng(seed).normal(size=x.shape)
    vertices = np.stack([x, y, height], axis=-1).reshape(-1, 3).astype(np.float64)
    corner = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).ravel()
    if hole:
        corner = corner[corner != (rows // 2) * (columns + 1) + columns // 2]
    above = corner + columns + 1
    lower, upper = np.stack([corner, corner + 1, above + 1], axis=1), np.stack([corner, above + 1, above], axis=1)
    return vertices, np.stack([lower, upper], axis=1).reshape(-1, 3)


def sphere(subdivisions: int) -> Mesh:
    """An icosahedron, each face cut in four so many times: 12, 42, 162, 642 vertices on the unit sphere."""
    golden = (1 + 5**0.5) / 2
    vertices = [(0, s, t * golden) for s in (-1, 1) for t in (-1, 1)]
    points = np.array([np.roll(v, turn) for turn in range(3) for v in vertices], dtype=np.float64)
    near = np.linalg.norm(points[:, None] - points, axis=2) < 2.1
    faces = [
        (a, b, c) for a in range(12) for b in range(a) for c in range(b) if near[a, b] and near[b, c] and near[a, c]
    ]
    faces = np.array([f if np.linalg.det(points[list(f)]) > 0 else f[::-1] for f in faces])
    for _ in range(subdivisions):
        ends = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        edges, middle = np.unique(ends, axis=0, return_inverse=True)
        a, b, c = faces.T
        ab, bc, ca = (middle.reshape(-1, 3) + len(points)).T
        points = np.concatenate([points, points[edges].mean(axis=1)])
        faces = np.concatenate([np.stack(f, axis=1) for f in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return points / np.linalg.norm(points, axis=1, keepdims=True), faces.astype(np.int64)


def torus(around: int, across: int) -> Mesh:
    """A ring of radius 3 with a tube of radius 1."""
    i, j = (axis.ravel() for axis in np.mgrid[:around, :across])
    u, v = 2 * np.pi * i / around, 2 * np.pi * j / across
    vertices = np.stack([(3 + np.cos(v)) * np.cos(u), (3 + np.cos(v)) * np.sin(u), np.sin(v)], axis=1)
    right, up = (i + 1) % around, (j + 1) % across
    a, b, c, d = i * across + j, right * across + j, right * across + up, i * across + up
    return vertices, np.stack([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)], axis=1).reshape(-1, 3)


def triangle() -> Mesh:
    """One triangle."""
    return np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]])


def tetrahedron() -> Mesh:
    """Four vertices, four faces, closed."""
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    return vertices, np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


def fan(blades: int) -> Mesh:
    """A vertex in the middle of an open disk of so many triangles."""
    angle = 2 * np.pi * np.arange(blades) / blades
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    following = np.roll(np.arange(blades), -1)
    faces = np.stack([np.zeros(blades, dtype=np.int64), 1 + np.arange(blades), 1 + following], axis=1)
    return np.concatenate([np.zeros((1, 3)), ring]), faces


def together(*meshes: Mesh, isolated: int = 0, apart: float = 10.0) -> Mesh:
    """Several meshes as one, side by side, and vertices without a face behind them."""
    counts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    vertices = [vertices + np.array([apart * place, 0.0, 0.0]) for place, (vertices, _) in enumerate(meshes)]
    alone = np.stack([np.arange(isolated) * 1.5, np.full(isolated, -7.0), np.full(isolated, 2.0)], axis=1)
    faces = [faces + count for (_, faces), count in zip(meshes, counts[:-1], strict=True)]
    return np.concatenate([*vertices, alone]), np.concatenate([*faces, np.zeros((0, 3), dtype=np.int64)])


def shuffled(mesh: Mesh, seed: int) -> Mesh:
    """The same surface with vertices, faces and first corners in another order."""
    vertices, faces = mesh
    draw = np.random.default_rng(seed)
    new_of_old = draw.permutation(len(vertices))
    turned = (draw.integers(3, size=(len(faces), 1)) + np.arange(3)) % 3
    faces = np.take_along_axis(new_of_old[faces], turned, axis=1)[draw.permutation(len(faces))]
    return vertices[np.argsort(new_of_old)], faces


def drawn(seed: int) -> Mesh:
    """A manifold of one to three pieces (rectangles with or without a hole, spheres, rings, triangles) in any order."""
    draw = np.random.default_rng(seed)
    pieces = {
        "grid": lambda: grid(*draw.integers(1, 9, size=2).tolist(), bumps=0.2, seed=seed),
        "holed": lambda: grid(*draw.integers(3, 9, size=2).tolist(), hole=True, bumps=0.2, seed=seed),
        "sphere": lambda: sphere(int(draw.integers(0, 3))),
        "torus": lambda: torus(*draw.integers(4, 9, size=2).tolist()),
        "triangle": triangle,
        "fan": lambda: fan(int(draw.integers(3, 12))),
    }
    chosen = draw.choice(list(pieces), size=int(draw.integers(1, 4)))
    return shuffled(together(*(pieces[name]() for name in chosen), isolated=int(draw.integers(0, 3))), seed)


def ball(rings: int = 24, columns: int = 36, radius: float = 80.0) -> tuple[np.ndarray, np.ndarray]:
    """A closed ball with a nose: vertices (V, 3) in mm, faces (F, 3) counter-clockwise from outside."""
    polar = np.linspace(0, np.pi, rings + 1)[1:-1]
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    polar, around = (grid.ravel() for grid in np.meshgrid(polar, around, indexing="ij"))
    directions = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], axis=1)
    directions = np.concatenate([directions, [[0, 1, 0], [0, -1, 0]]])
    nose = 25 * np.exp(-(directions[:, :2] ** 2).sum(1) / 0.03) * (directions[:, 2] > 0)
    vertices = directions * (radius + nose)[:, None]
    faces = []
    for i in range(rings - 2):
        for k in range(columns):
            a, b = i * columns + k, i * columns + (k + 1) % columns
            faces += [(a, a + columns, b), (b, a + columns, b + columns)]
    top, bottom, last = len(vertices) - 2, len(vertices) - 1, (rings - 2) * columns
    for k in range(columns):
        faces += [(top, k, (k + 1) % columns), (bottom, last + (k + 1) % columns, last + k)]
    return vertices, np.array(faces)
