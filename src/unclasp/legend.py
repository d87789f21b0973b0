"""What overlays and 3D pages have in common: the words of their legends, and how hands in doubt are drawn."""

from typing import Final

DOUBTED_WIDTH: Final = 0.65
"""Width of the bones of hands in doubt, relative to others'."""
DASH: Final = 6.0
"""Distance from dash to dash of hands in doubt, as a multiple of their bones' width."""
DASH_SHARE: Final = 0.35
"""Length of a dash relative to that distance, without its round ends."""


def how_sure(presence: float, confidence: float | None, *, doubted: bool) -> str:
    """Return the legend text for the certainty of a hand.

    Args:
        presence: Probability that the hand is there, 0 to 1.
        confidence: Mean confidence of its joints, 0 to 1, or None if the network does not predict it.
        doubted: The hand is in doubt.

    Examples:
        >>> how_sure(1.0, 0.634, doubted=False), how_sure(0.9, None, doubted=False), how_sure(1.0, 0.1, doubted=True)
        ('63% sure', '90% there', 'in doubt')
    """
    if doubted:
        return "in doubt"
    return f"{presence:.0%} there" if confidence is None else f"{confidence:.0%} sure"
