"""A document as one HTML file that needs nothing else: no script, no network, pictures inside."""

import base64
import hashlib
import re
from html import escape
from typing import Any

from vlm2vla.evaluation.report.document import Block, Document, Example, Figure, Gallery, Link, Section, Table, Text

# A lower and an upper end in brackets: kept on one line.
_INTERVAL = re.compile(r"\([-+\d.%]+(?:\u2013| to )[-+\d.%]+\)")
_STYLE = """
:root { color-scheme: light dark; --ink: #1c1f23; --soft: #5b6570; --paper: #fff; --line: #d9dee3; --mark: #f3f5f7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --soft: #9aa5b1; --paper: #15181b; --line: #333a41; --mark: #1e2328; }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 62rem; padding: 2rem 1.25rem 5rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .75rem; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
nav ol { columns: 2; padding-left: 1.25rem; } a { color: inherit; text-decoration-color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; margin: .75rem 0; width: 100%; }
caption { text-align: left; color: var(--soft); padding-bottom: .35rem; } th { text-align: left; font-weight: 600; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem .3rem 0; vertical-align: top; }
td { font-variant-numeric: tabular-nums; }
.interval { white-space: nowrap; }
td:first-child { white-space: nowrap; } tbody tr:hover { background: var(--mark); }
details { margin: .75rem 0; } summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; border-radius: 6px; }
figcaption, .run { color: var(--soft); font-size: .9rem; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .9rem; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .7rem; font-size: .85rem; }
.picture { aspect-ratio: 1; background: center / contain no-repeat; border-radius: 5px; print-color-adjust: exact; }
.card h3 { margin: .2rem 0; font-size: .85rem; color: var(--soft); }
.card dt { color: var(--soft); } .card dd { margin: 0 0 .3rem; overflow-wrap: anywhere; }
"""


def to_html(document: Document) -> str:
    """The whole page."""
    listed = "".join(
        f'<li><a href="#s{number}">{escape(each.title)}</a></li>' for number, each in enumerate(document.sections)
    )
    sections = "".join(_section(number, each) for number, each in enumerate(document.sections))
    style = _STYLE + _pictures(document)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(document.title)}</title><style>{style}</style></head><body>"
        f"<h1>{escape(document.title)}</h1>{''.join(map(_block, document.intro))}"
        f"<nav><ol>{listed}</ol></nav>{sections}</body></html>\n"
    )


def _section(number: int, section: Section) -> str:
    return f'<section id="s{number}"><h2>{escape(section.title)}</h2>{"".join(map(_block, section.blocks))}</section>'


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Figure):
        return f"<figure>{block.svg}<figcaption>{escape(block.caption)}</figcaption></figure>"
    if isinstance(block, Gallery):
        cards = "".join(map(_card, block.examples))
        return f'<p>{escape(block.caption)}</p><div class="gallery">{cards}</div>'
    return _table(block)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.head)
    rows = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    run = f'<p class="run">Run: {_cell(table.run)}</p>' if table.run else ""
    caption = "" if table.folded else caption
    whole = f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{run}'
    return f"<details><summary>{escape(table.caption)}</summary>{whole}</details>" if table.folded else whole


def _cell(cell: Any) -> str:
    if isinstance(cell, tuple):
        return ", ".join(map(_cell, cell))
    if isinstance(cell, Link):
        return f'<a href="{escape(cell.path, quote=True)}">{escape(cell.text)}</a>'
    return _INTERVAL.sub(r'<span class="interval">\g<0></span>', escape(str(cell)))


def _card(example: Example) -> str:
    image = f'<div class="picture {_class(example)}"></div>' if example.image else ""
    lines = "".join(f"<dt>{escape(who)}</dt><dd>{escape(what)}</dd>" for who, what in example.lines)
    return f'<div class="card">{image}<h3>{escape(example.title)}</h3><dl>{lines}</dl></div>'


def _pictures(document: Document) -> str:
    """Style rules with the pictures of all examples: many of them stand at several models and are held once."""
    blocks = (block for section in document.sections for block in section.blocks)
    examples = [each for block in blocks if isinstance(block, Gallery) for each in block.examples if each.image]
    return "".join({_class(each): _picture(each) for each in examples}.values())


def _picture(example: Example) -> str:
    data = base64.b64encode(example.image).decode()
    return f'.{_class(example)} {{ background-image: url("data:{example.mime_type};base64,{data}"); }}\n'


def _class(example: Example) -> str:
    return "p" + hashlib.sha256(example.image).hexdigest()[:16]
