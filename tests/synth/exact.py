"""Measures penetration depth and distance of two meshes exactly, by winding numbers and closest points.

The slow and obvious way: every vertex against every triangle, in float64; numba only spares the wait.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def winding_number(points, vertices, faces):
    """Sum Van Oosterom and Strackee's solid angles: 1 inside a closed mesh, 0 outside."""
    winding = np.zeros(len(points))
    for i in range(len(points)):
        for a, b, c in faces:
            ax, ay, az = vertices[a] - points[i]
            bx, by, bz = vertices[b] - points[i]
            cx, cy, cz = vertices[c] - points[i]
            la, lb, lc = np.sqrt(ax**2 + ay**2 + az**2), np.sqrt(bx**2 + by**2 + bz**2), np.sqrt(cx**2 + cy**2 + cz**2)
            volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            ab, bc, ca = ax * bx + ay * by + az * bz, bx * cx + by * cy + bz * cz, cx * ax + cy * ay + cz * az
            winding[i] += np.arctan2(volume, la * lb * lc + ab * lc + bc * la + ca * lb)
    return winding / (2 * np.pi)


@njit(cache=True)
def _to_segment(point, p, q):
    along = ((point - p) * (q - p)).sum() / ((q - p) ** 2).sum()
    return np.sqrt(((point - p - min(max(along, 0.0), 1.0) * (q - p)) ** 2).sum())


@njit(cache=True)
def _to_triangle(point, a, b, c):
    normal = np.cross(b - a, c - a)
    square = (normal * normal).sum()
    gamma = (np.cross(b - a, point - a) * normal).sum() / square
    beta = (np.cross(point - a, c - a) * normal).sum() / square
    if gamma >= 0 and beta >= 0 and gamma + beta <= 1:
        return abs(((point - a) * normal).sum()) / np.sqrt(square)
    return min(_to_segment(point, a, b), _to_segment(point, b, c), _to_segment(point, c, a))


@njit(cache=True)
def distance_to_mesh(points, vertices, faces):
    """Return each point's smallest distance to a triangle; triangles farther than the best one are skipped."""
    distance = np.full(len(points), np.inf)
    centres, reach = np.empty((len(faces), 3)), np.empty(len(faces))
    for f in range(len(faces)):
        corners = vertices[faces[f]]
        centres[f] = (corners[0] + corners[1] + corners[2]) / 3
        reach[f] = np.sqrt(((corners - centres[f]) ** 2).sum(axis=1).max())
    for i in range(len(points)):
        for f in range(len(faces)):
            x, y, z = points[i, 0] - centres[f, 0], points[i, 1] - centres[f, 1], points[i, 2] - centres[f, 2]
            if np.sqrt(x * x + y * y + z * z) - reach[f] < distance[i]:
                a, b, c = faces[f]
                distance[i] = min(distance[i], _to_triangle(points[i], vertices[a], vertices[b], vertices[c]))
    return distance


def penetration_and_gap(vertices_a, faces_a, vertices_b, faces_b):
    """Return the maximum depth of a vertex of one mesh inside the other, and the smallest distance between them."""
    deepest, gap = 0.0, np.inf
    faces_a, faces_b = np.ascontiguousarray(faces_a), np.ascontiguousarray(faces_b)
    for points, vertices, faces in ((vertices_a, vertices_b, faces_b), (vertices_b, vertices_a, faces_a)):
        near = (points > vertices.min(axis=0) - 20).all(axis=1) & (points < vertices.max(axis=0) + 20).all(axis=1)
        distance = distance_to_mesh(points[near], vertices, faces)
        gap = min(gap, distance.min(initial=np.inf))
        inside = winding_number(points[near], vertices, faces) > 0.5
        deepest = max(deepest, distance[inside].max(initial=0.0))
    return float(deepest), float(gap)
