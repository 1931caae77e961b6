"""What a report consists of, whatever it is written as: sections of text, tables, figures and pictures."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Link:
    """Text that leads to a file of the report, such as the run that a number comes from."""

    text: str
    path: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells: text, `Link`, several links, or a number that is written as it is.

    Attributes:
        run: Where the numbers of all rows come from.
        folded: Only its caption is seen until somebody opens it; for long ones that few people read.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    caption: str = ""
    run: Link | None = None
    folded: bool = False


@dataclass(frozen=True)
class Figure:
    """A plot as SVG; `name` is its file name in the Markdown version."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Example:
    """One question with its picture and two answers.

    Attributes:
        image: Encoded picture; empty for questions of text alone.
        mime_type: Of the picture.
        lines: (who, what) in order: question, right answer, base, fine-tuned.
    """

    title: str
    image: bytes
    mime_type: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Gallery:
    """Examples side by side."""

    caption: str
    examples: tuple[Example, ...]


Block = Text | Table | Figure | Gallery


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """The whole report."""

    title: str
    intro: tuple[Block, ...]
    sections: tuple[Section, ...] = field(default=())
