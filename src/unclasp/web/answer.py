"""The response of `server` to a picture: the result, the overlay and the 3D view in one JSON document."""

import base64
import json
import time
from dataclasses import replace
from typing import Final

import cv2

from unclasp.arrays import Pixels
from unclasp.picture import decode_photo
from unclasp.pose import HandPose
from unclasp.predictor import Predictor
from unclasp.skeletons import draw_overlay
from unclasp.view3d import page

_MAX_OVERLAY_PX: Final = 1280
"""Longest side of the overlay in px; for larger pictures it is drawn on a downscaled copy."""


def answer_picture(
    predictor: Predictor, data: bytes, *, name: str | None = None, mirrored: bool = False, max_pixels: int
) -> bytes:
    """Predict the hands in a picture file, and return the response.

    Args:
        predictor: Predicts the hands.
        data: The file's bytes.
        name: File name, for the result.
        mirrored: The picture is a mirror image, such as a selfie.
        max_pixels: Largest width × height.

    Returns:
        JSON with `result`, the text of `HandPose.to_json`; `overlay`, a JPEG as a data URL; `view`, the page of
        `HandPose.save_html`; and `seconds`, the time for decoding, prediction and drawing.

    Raises:
        ImageError: The data is not a complete picture of a usable size.
    """
    start = time.perf_counter()
    image, focal = decode_photo(data, max_pixels=max_pixels)
    pose = replace(predictor(image, focal=focal, mirrored=mirrored), source=name)
    overlay = base64.b64encode(_overlay(pose, image)).decode()
    response = {"result": pose.to_json(), "overlay": f"data:image/jpeg;base64,{overlay}", "view": page(pose.to_dict())}
    return json.dumps({**response, "seconds": round(time.perf_counter() - start, 3)}).encode()


def _overlay(pose: HandPose, image: Pixels) -> bytes:
    """Return a JPEG of the skeletons over the picture, or over a downscaled copy."""
    scale = min(1.0, _MAX_OVERLAY_PX / max(image.shape[:2]))
    drawn = draw_overlay(image, pose.views(), others=[other.views() for other in pose.touching], scale=scale)
    return cv2.imencode(".jpg", drawn[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
