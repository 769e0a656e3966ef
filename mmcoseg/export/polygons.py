"""Polygons of masks, for the formats that know nothing else.

Formats differ in what a coordinate means, so there are two kinds of polygons:

- along pixel *edges*: pixel (x, y) is the square from (x, y) to (x + 1, y + 1). COCO's.
- through pixel *centers*: (x, y) is the pixel, and a polygon's own line belongs to it. This is what
  the rasterizers of OpenCV (YOLO's tools) and Pillow (labelme) draw.

No such format knows holes. A hole is joined to the outline by a bridge of no width, which runs over
pixels of the object, so that filling the polygon gives the hole back.
"""

from collections import defaultdict

import cv2
import numpy as np
from scipy.spatial import cKDTree

__all__ = ['TOLERANCE', 'join_parts', 'mask_to_polygons']

#: Pixels by which a simplified outline may be off, for large objects.
TOLERANCE = 1.0
#: The same, as a share of the object's area over the length of its outline: what moves the outline
#: by this much changes at most this share of the area.
_RELATIVE_TOLERANCE = 0.05
#: Below this, moving vertices that lie on pixels gains nothing.
_LEAST_TOLERANCE = 0.5


def mask_to_polygons(
    mask: np.ndarray, *, edges: bool = False, tolerance: float = TOLERANCE
) -> list[np.ndarray]:
    """One polygon for each connected part of a mask, holes joined to it by bridges.

    With ``tolerance=0`` the polygons stand for exactly the mask. Otherwise outlines are simplified,
    small objects less than large ones: the intersection over union with the mask stays above 0.98
    for parts of at least 32 x 32 pixels that are not all outline.

    Args:
        mask: (H, W) bool or 0 / not 0.
        edges: vertices on the edges of pixels instead of on their centers.
        tolerance: pixels by which a simplified outline may be off at most.

    Returns:
        Polygons (n, 2), x and y, float64, n >= 3, from top to bottom. Parts are 8-connected. Of
        centers, those of a single pixel or line have vertices more than once.

    Example:
        >>> mask_to_polygons(np.ones((2, 3), bool), edges=True)[0].tolist()
        [[0.0, 0.0], [0.0, 2.0], [3.0, 2.0], [3.0, 0.0]]
        >>> mask_to_polygons(np.ones((2, 3), bool))[0].tolist()
        [[0.0, 0.0], [0.0, 1.0], [2.0, 1.0], [2.0, 0.0]]
    """
    pixels = (mask != 0).astype(np.uint8)
    # Only the object's box, which saves much of the time for small objects.
    left, top, width, height = cv2.boundingRect(pixels)
    if not width:
        return []
    pixels = np.ascontiguousarray(pixels[top : top + height, left : left + width])
    if edges:
        pixels = pixels.repeat(2, axis=0).repeat(2, axis=1)
    polygons = []
    for loops in _parts(pixels):
        outline = _bridge_holes(loops, pixels)
        if edges:
            # Of doubled pixels, even numbers lie at left and upper edges, odd ones at the others.
            outline = (outline + 1) // 2
        outline = _without_steps(outline)
        allowed = min(tolerance, _RELATIVE_TOLERANCE * _area_over_length(outline))
        if allowed >= _LEAST_TOLERANCE and len(outline) > 3:
            simple = cv2.approxPolyDP(outline.astype(np.int32)[:, None], allowed, True)[:, 0]
            outline = simple if len(simple) >= 3 else outline
        outline = np.concatenate([outline, *[outline[-1:]] * (3 - len(outline))])
        polygons.append((outline + (left, top)).astype(np.float64))
    return sorted(polygons, key=lambda polygon: polygon[:, ::-1].min(axis=0).tolist())


def join_parts(polygons: list[np.ndarray]) -> np.ndarray:
    """One polygon of several (at least one), for formats with one polygon an object.

    Each is joined to what there is by a bridge of no width between their nearest vertices.
    Rasterizers that draw a polygon's own line also draw the bridge, one pixel wide.
    """
    joined = polygons[0]
    for polygon in polygons[1:]:
        distance, nearest = cKDTree(joined).query(polygon)
        start = distance.argmin()
        at, around = nearest[start], np.roll(polygon, -start, axis=0)
        joined = np.concatenate([joined[: at + 1], around, around[:1], joined[at:]])
    return joined


def _parts(pixels: np.ndarray) -> list[list[np.ndarray]]:
    """Of each connected part its outline, then its holes from left to right: closed (n, 2) int."""
    contours, hierarchy = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines, holes = {}, defaultdict(list)
    for number, contour in enumerate(contours):
        parent, points = int(hierarchy[0, number, 3]), contour[:, 0].astype(int)
        if parent < 0:
            outlines[number] = points
        else:
            holes[parent].append(points)
    for some in holes.values():
        some.sort(key=lambda points: points.min(axis=0).tolist())
    return [[outline, *holes[number]] for number, outline in outlines.items()]


def _bridge_holes(loops: list[np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """One closed line: the outline, with every hole on a bridge over the object's pixels.

    From the leftmost point of a hole, the object's pixels to its left end at the outline or at a
    hole that reaches farther to the left, so that all holes hang on the outline in the end.
    """
    points = np.concatenate(loops)
    # Nodes of linked lists, since there may be thousands of holes: which node comes after each,
    # and which point it stands at. Bridges need their two ends once more.
    following = np.arange(1, len(points) + 1).tolist()
    standing = list(range(len(points)))
    node_at: dict[tuple[int, int], int] = {}
    for node, (x, y) in enumerate(points.tolist()):
        node_at.setdefault((x, y), node)  # of a loop that reaches farther to the left
    end = len(loops[0])
    following[end - 1] = 0
    for loop in loops[1:]:
        begin, end = end, end + len(loop)
        following[end - 1] = begin
        start = begin + int(loop[:, 0].argmin())
        x, y = points[start].tolist()
        background = np.flatnonzero(pixels[y, :x] == 0)
        at = node_at[int(background[-1]) + 1 if len(background) else 0, y]
        # From `at` over the bridge, around the hole to `start`, back, and on as before.
        over, back = len(following), len(following) + 1
        following += [following[start], following[at]]
        standing += [start, at]
        following[start], following[at] = back, over
    order, node = [0], following[0]
    while node:
        order.append(standing[node])
        node = following[node]
    return points[order]


def _without_steps(line: np.ndarray) -> np.ndarray:
    """The same closed line without repeated vertices and such in the middle of straight runs."""
    line = line[(line != np.roll(line, 1, axis=0)).any(axis=1)] if len(line) > 1 else line
    if len(line) < 3:
        return line
    before, after = line - np.roll(line, 1, axis=0), np.roll(line, -1, axis=0) - line
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    back = (before * after).sum(axis=1) < 0
    kept = line[(turn != 0) | back]
    return kept if len(kept) >= 2 else line


def _area_over_length(line: np.ndarray) -> float:
    following = np.roll(line, -1, axis=0)
    area = abs((line[:, 0] * following[:, 1] - line[:, 1] * following[:, 0]).sum()) / 2
    length = np.hypot(*(following - line).T).sum()
    return float(area / length) if length else 0.0
