"""Displacements in words and in numbers."""

import numpy as np
import pytest

from vlm2vla.errors import AnnotationError
from vlm2vla.language import directions_of, measure


def words(*values) -> list[str]:
    delta = np.array(values, dtype=float)
    delta[:3] /= 100
    delta[3:] = np.radians(delta[3:])
    return [" ".join(filter(None, [found.verb, found.size, found.word])) for found in directions_of(delta)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((5, 0, 0), ["move forward"]),
        ((-5, 0, 0), ["move back"]),
        ((0, 5, 0), ["move left"]),
        ((0, -5, 0), ["move right"]),
        ((0, 0, 5), ["move up"]),
        ((0, 0, -5), ["move down"]),
        ((0, 0, 0, 30, 0, 0), ["roll left"]),
        ((0, 0, 0, -30, 0, 0), ["roll right"]),
        ((0, 0, 0, 0, 30, 0), ["tilt back"]),
        ((0, 0, 0, 0, -30, 0), ["tilt forward"]),
        ((0, 0, 0, 0, 0, 30), ["rotate counterclockwise"]),
        ((0, 0, 0, 0, 0, -30), ["rotate clockwise"]),
        ((2, 0, -6), ["move down", "move slightly forward"]),
        ((6, 6, 0), ["move forward", "move left"]),
        ((6, 1, 0), ["move forward"]),
        ((1, 0, 0), ["move slightly forward"]),
        ((0, 0, 20), ["move far up"]),
        ((5.9, 0, 20), ["move far up", "move slightly forward"]),
        ((6.1, 0, 20), ["move far up", "move forward"]),
        ((16, 0, 40), ["move far up", "move far forward"]),
        ((0, 0, 0, 0, 29, 90), ["rotate far counterclockwise", "tilt slightly back"]),
        ((0, 0, 0, 0, 31, 90), ["rotate far counterclockwise", "tilt back"]),
        ((0.5, 0.5, 0.5), []),
        ((0, 0, 5, 0, 0, -90), ["move up", "rotate far clockwise"]),
        ((0, 0, 5, 3, 3, 3), ["move up"]),
    ],
)
def test_a_displacement_in_words(values, expected):
    assert words(*values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1.2, 0, -6.1), "down 6.1 cm, forward 1.2 cm"),
        ((0, 0, 0), "no motion"),
        ((0.04, -0.04, 0), "no motion"),
        ((-0.1, 0, 0), "back 0.1 cm"),
        ((0, 2, 0, 0, -5, 12), "left 2.0 cm, rotate counterclockwise 12.0 deg, tilt forward 5.0 deg"),
    ],
)
def test_a_displacement_in_numbers(values, expected):
    delta = np.array(values, dtype=float)
    delta[:3] /= 100
    delta[3:] = np.radians(delta[3:])
    assert measure(delta) == expected


@pytest.mark.parametrize("delta", [np.zeros(4), np.zeros((1, 3)), np.array([np.nan, 0, 0])])
def test_only_displacements_are_taken(delta):
    with pytest.raises(AnnotationError):
        directions_of(delta)
    with pytest.raises(AnnotationError):
        measure(delta)
