"""Pictures that are drawn, not shipped: table tops and the printed cards. [h, w, 3] uint8, same seed, same picture."""

from functools import lru_cache

import numpy as np

CARD_PX = 128
TABLE_PX = 512


def table_texture(name: str, seed: int) -> np.ndarray:
    """[512, 512, 3] of the table top called `name` (see `scenes.TABLE_TEXTURES`)."""
    rng = np.random.default_rng(seed)
    draw = {
        "light wood": lambda: _wood(rng, (0.80, 0.66, 0.48), (0.68, 0.52, 0.35)),
        "dark wood": lambda: _wood(rng, (0.50, 0.36, 0.26), (0.38, 0.26, 0.18)),
        "grey cloth": lambda: _cloth(rng, (0.55, 0.57, 0.60)),
        "green felt": lambda: _cloth(rng, (0.42, 0.52, 0.46)),
        "marble": lambda: _marble(rng),
        "white board": lambda: _plain(rng, (0.86, 0.86, 0.84)),
    }[name]
    return (np.clip(draw(), 0, 1) * 255).astype(np.uint8)


def _noise(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """[512, 512] smooth noise about 0, made of `rows` x `columns` random values."""
    from PIL import Image

    coarse = Image.fromarray(rng.normal(0, 1, (rows, columns)).astype(np.float32))
    return np.asarray(coarse.resize((TABLE_PX, TABLE_PX), Image.Resampling.BICUBIC), dtype=np.float64)


def _wood(rng: np.random.Generator, light: tuple[float, ...], dark: tuple[float, ...]) -> np.ndarray:
    boards = rng.normal(0, 0.35, 5)[np.minimum(np.arange(TABLE_PX) * 5 // TABLE_PX, 4)]
    grain = 0.5 * _noise(rng, 90, 6) + 0.25 * _noise(rng, 256, 12) + boards[:, None]
    share = np.clip(0.45 + 0.35 * grain, 0, 1)[..., None]
    picture = np.array(light) * (1 - share) + np.array(dark) * share
    seams = np.arange(TABLE_PX) % (TABLE_PX // 5) < 2
    picture[seams] *= 0.82
    return picture


def _cloth(rng: np.random.Generator, colour: tuple[float, ...]) -> np.ndarray:
    rows, columns = np.indices((TABLE_PX, TABLE_PX))
    weave = 0.03 * ((rows // 4 + columns // 4) % 2) + 0.02 * _noise(rng, 128, 128) + 0.02 * _noise(rng, 6, 6)
    return np.array(colour) + weave[..., None]


def _marble(rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.indices((TABLE_PX, TABLE_PX)) / TABLE_PX
    veins = np.abs(np.sin(3 * np.pi * (rows + 0.6 * columns) + 0.9 * _noise(rng, 6, 6) + 0.25 * _noise(rng, 30, 30)))
    share = 0.14 * (1 - veins) ** 6 + 0.015 * _noise(rng, 40, 40)
    return np.array((0.84, 0.83, 0.82)) - share[..., None]


def _plain(rng: np.random.Generator, colour: tuple[float, ...]) -> np.ndarray:
    return np.array(colour) + 0.012 * _noise(rng, 8, 8)[..., None]


@lru_cache(maxsize=64)
def card_texture(symbol: str, colour: tuple[float, float, float]) -> np.ndarray:
    """[128, 128, 3] white paper with a thin frame and one large symbol or digit in `colour` (0..1)."""
    from PIL import Image, ImageDraw

    scale = 4
    size = CARD_PX * scale
    image = Image.new("RGB", (size, size), (250, 249, 244))
    pen = ImageDraw.Draw(image)
    ink = tuple(int(255 * value) for value in colour)
    edge = size // 40
    pen.rectangle([edge, edge, size - edge, size - edge], outline=(150, 150, 150), width=edge // 2)
    if symbol.isdigit():
        _digit(pen, symbol, size, ink)
    else:
        _SHAPES[symbol](pen, size, ink)
    return np.asarray(image.resize((CARD_PX, CARD_PX), Image.Resampling.LANCZOS))


def _digit(pen, symbol: str, size: int, ink: tuple[int, ...]) -> None:
    from PIL import ImageFont

    pen.text((size / 2, size / 2), symbol, fill=ink, font=ImageFont.load_default(size * 0.8), anchor="mm")


def _star(pen, size: int, ink: tuple[int, ...]) -> None:
    angles = np.pi / 2 + np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2 == 0, 0.42, 0.17) * size
    pen.polygon(
        [(size / 2 + r * np.cos(a), size * 0.53 - r * np.sin(a)) for r, a in zip(radii, angles, strict=True)], ink
    )


def _triangle(pen, size: int, ink: tuple[int, ...]) -> None:
    pen.polygon([(size * 0.5, size * 0.14), (size * 0.88, size * 0.82), (size * 0.12, size * 0.82)], ink)


def _heart(pen, size: int, ink: tuple[int, ...]) -> None:
    turn = np.linspace(0, 2 * np.pi, 80)
    x = 16 * np.sin(turn) ** 3
    y = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    pen.polygon(list(zip(size * (0.5 + x * 0.023), size * (0.48 - y * 0.023), strict=True)), ink)


def _moon(pen, size: int, ink: tuple[int, ...]) -> None:
    pen.ellipse([size * 0.16, size * 0.14, size * 0.88, size * 0.86], ink)
    pen.ellipse([size * 0.40, size * 0.10, size * 1.00, size * 0.72], (250, 249, 244))


def _sun(pen, size: int, ink: tuple[int, ...]) -> None:
    pen.ellipse([size * 0.31, size * 0.31, size * 0.69, size * 0.69], ink)
    for angle in np.arange(8) * np.pi / 4:
        near, far = 0.25 * size, 0.41 * size
        ends = [(size / 2 + r * np.cos(angle), size / 2 + r * np.sin(angle)) for r in (near, far)]
        pen.line(ends, ink, width=size // 14)


def _tree(pen, size: int, ink: tuple[int, ...]) -> None:
    pen.rectangle([size * 0.44, size * 0.70, size * 0.56, size * 0.90], ink)
    for top, half in ((0.10, 0.20), (0.25, 0.27), (0.42, 0.34)):
        corners = [(0.5, top), (0.5 + half, top + 0.30), (0.5 - half, top + 0.30)]
        pen.polygon([(size * x, size * y) for x, y in corners], ink)


def _arrow(pen, size: int, ink: tuple[int, ...]) -> None:
    corners = [(0.5, 0.10), (0.86, 0.48), (0.62, 0.48), (0.62, 0.88), (0.38, 0.88), (0.38, 0.48), (0.14, 0.48)]
    pen.polygon([(size * x, size * y) for x, y in corners], ink)


def _cross(pen, size: int, ink: tuple[int, ...]) -> None:
    pen.line([(size * 0.2, size * 0.2), (size * 0.8, size * 0.8)], ink, width=size // 6)
    pen.line([(size * 0.2, size * 0.8), (size * 0.8, size * 0.2)], ink, width=size // 6)


def _square(pen, size: int, ink: tuple[int, ...]) -> None:
    pen.rectangle([size * 0.2, size * 0.2, size * 0.8, size * 0.8], ink)


def _circle(pen, size: int, ink: tuple[int, ...]) -> None:
    pen.ellipse([size * 0.15, size * 0.15, size * 0.85, size * 0.85], ink)


_SHAPES = {
    "star": _star,
    "triangle": _triangle,
    "heart": _heart,
    "moon": _moon,
    "sun": _sun,
    "tree": _tree,
    "arrow": _arrow,
    "cross": _cross,
    "square": _square,
    "circle": _circle,
}
