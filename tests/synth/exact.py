"""How deep two meshes are in each other and how close they come, the slow and obvious way.

Winding numbers and closest points.
"""

import numpy as np


def winding_number(points, triangles):
    """Van Oosterom and Strackee's solid angles, summed: 1 inside of a closed mesh, 0 outside."""
    total = np.zeros(len(points))
    for start in range(0, len(triangles), 256):
        a, b, c = (triangles[None, start : start + 256, k] - points[:, None] for k in range(3))
        la, lb, lc = (np.linalg.norm(v, axis=-1) for v in (a, b, c))
        numerator = np.einsum("pti,pti->pt", a, np.cross(b, c))
        dots = [(u * v).sum(-1) for u, v in ((a, b), (b, c), (c, a))]
        total += np.arctan2(numerator, la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb).sum(axis=1)
    return total / (2 * np.pi)


def distance_to_triangles(points, triangles):
    """Smallest distance of each point to any of the triangles."""
    best = np.full(len(points), np.inf)
    for start in range(0, len(triangles), 256):
        a, b, c = (triangles[start : start + 256, k] for k in range(3))
        normal = np.cross(b - a, c - a)
        square = (normal * normal).sum(-1)
        relative = points[:, None] - a
        gamma = (np.cross(b - a, relative) * normal).sum(-1) / square
        beta = (np.cross(relative, c - a) * normal).sum(-1) / square
        inside = (gamma >= 0) & (beta >= 0) & (gamma + beta <= 1)
        plane = np.where(inside, np.abs((relative * normal).sum(-1)) / np.sqrt(square), np.inf)
        edges = [_to_segment(points, p, q) for p, q in ((a, b), (b, c), (c, a))]
        best = np.minimum(best, np.minimum.reduce([plane, *edges]).min(axis=1))
    return best


def _to_segment(points, p, q):
    along = ((points[:, None] - p) * (q - p)).sum(-1) / ((q - p) ** 2).sum(-1)
    return np.linalg.norm(points[:, None] - (p + np.clip(along, 0, 1)[..., None] * (q - p)), axis=-1)


def penetration_and_gap(vertices_a, faces_a, vertices_b, faces_b):
    """Return the deepest that a vertex of one mesh lies inside of the other, and the smallest distance between them."""
    deepest, gap = 0.0, np.inf
    for points, vertices, faces in ((vertices_a, vertices_b, faces_b), (vertices_b, vertices_a, faces_a)):
        near = (points > vertices.min(axis=0) - 20).all(axis=1) & (points < vertices.max(axis=0) + 20).all(axis=1)
        candidates, triangles = points[near], vertices[faces]
        if not len(candidates):
            continue
        low, high = candidates.min(axis=0) - 40, candidates.max(axis=0) + 40
        close = ((triangles.max(axis=1) > low) & (triangles.min(axis=1) < high)).all(axis=1)
        distance = distance_to_triangles(candidates, triangles[close])
        inside = winding_number(candidates, triangles) > 0.5
        deepest = max(deepest, distance[inside].max(initial=0.0))
        gap = min(gap, distance.min())
    return float(deepest), float(gap)
