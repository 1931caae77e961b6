"""A document as Markdown; figures are files beside it."""

from typing import Any

from vlm2vla.evaluation.report.document import Block, Document, Figure, Gallery, Link, Table, Text

FIGURES = "figures"


def to_markdown(document: Document) -> str:
    """The text; `figures_of` gives the files that it names."""
    parts = [f"# {document.title}", *map(_block, document.intro)]
    for section in document.sections:
        parts += [f"## {section.title}", *map(_block, section.blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def figures_of(document: Document) -> dict[str, str]:
    """Relative path -> SVG of every figure."""
    blocks = [*document.intro, *(block for section in document.sections for block in section.blocks)]
    return {f"{FIGURES}/{block.name}.svg": block.svg for block in blocks if isinstance(block, Figure)}


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Figure):
        return f"![{_plain(block.caption)}]({FIGURES}/{block.name}.svg)\n\n*{_plain(block.caption)}*"
    if isinstance(block, Gallery):
        rows = tuple(
            (example.title, *(what for _, what in example.lines)) for example in block.examples if example.lines
        )
        head = ("question", *(who for who, _ in block.examples[0].lines)) if block.examples else ()
        return f"{block.caption}\n\n{_table(Table(head, rows))}" if rows else block.caption
    return _table(block)


def _table(table: Table) -> str:
    lines = [f"*{_plain(table.caption)}*\n"] if table.caption else []
    lines.append("| " + " | ".join(map(_plain, table.head)) + " |")
    lines.append("|" + " --- |" * len(table.head))
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
    if table.run:
        lines.append(f"\nRun: {_cell(table.run)}")
    if not table.folded:
        return "\n".join(lines)
    return "\n".join((f"<details><summary>{_plain(table.caption)}</summary>\n", *lines[1:], "\n</details>"))


def _cell(cell: Any) -> str:
    if isinstance(cell, tuple):
        return ", ".join(map(_cell, cell))
    return f"[{_plain(cell.text)}]({cell.path})" if isinstance(cell, Link) else _plain(cell)


def _plain(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
