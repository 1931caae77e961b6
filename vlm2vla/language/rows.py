"""The paper's action text: a list of rows of numbers.

Translation only `[[2.5, 0.0, -5.0, 1], [0.0, 0.0, -3.0, 0]]`, values dx dy dz gripper; with rotation
`[[2.5, 0.0, -5.0, 0, 0, -15, 1]]`, values dx dy dz droll dpitch dyaw gripper. Centimetres, degrees, manipulation
frame; gripper 1 open, 0 closed. No rows are written `[]`.
"""

import re
from dataclasses import dataclass

from vlm2vla.errors import ActionParseError
from vlm2vla.language.quantized import QuantizedForm, checked_length, checked_value
from vlm2vla.language.scale import MAX_ROWS
from vlm2vla.language.scan import Scanner, opening
from vlm2vla.types import ActionChunk

# What would be a second action if it stood behind the first list.
_ANOTHER_LIST = re.compile(r"\[\s*\[|\[[^\[\]]*,")
_STRAY = ("[", "]", ",")


@dataclass(frozen=True)
class RowsForm(QuantizedForm):
    """Lists of numbers, with (rows7) or without (rows) rotation."""

    @property
    def name(self) -> str:
        """As `vlm2vla.language.form` takes it."""
        if self.degrees:
            return f"rows7:{self.centimetres.label}:{self.degrees.label}"
        return f"rows:{self.centimetres.label}"

    def verbalize(self, chunk: ActionChunk) -> str:
        """Numbers to text; every number of one kind has the same decimals.

        Raises:
            AnnotationError: As `quantize`; more rows, or more motion in a row, than text may say.
        """
        multiples, gripper = self._speakable(chunk)
        scales = self.scales
        rows = (
            f"[{', '.join([scale.written(n) for scale, n in zip(scales, row, strict=True)])}, {bit}]"
            for row, bit in zip(multiples, gripper, strict=True)
        )
        return checked_length(f"[{', '.join(rows)}]")

    def parse(self, text: str) -> ActionChunk:
        """Text to numbers; the inverse of `verbalize`.

        Spaces, a code fence, a label in front, text behind, trailing commas, a single row without the outer
        brackets and other decimals are accepted; values off the grid are kept as they are written.

        Raises:
            ActionParseError: Anything else.
        """
        scanner = Scanner(text, opening(text))
        scanner.expect("[", "expected '[', the start of a list of rows")
        inside = scanner.position
        rows = []
        if scanner.take("["):
            rows.append(self._row(scanner, scanner.position - 1))
            while scanner.take(","):
                if not scanner.take("["):
                    break
                if len(rows) == MAX_ROWS:
                    raise scanner.error(f"more than {MAX_ROWS} rows")
                rows.append(self._row(scanner, scanner.position - 1))
            scanner.expect("]", "expected ',' and another row, or ']'")
        elif not scanner.take("]"):
            rows.append(self._row(scanner, inside - 1))
        self._refuse_more(scanner)
        return self._chunk([row[:-1] for row in rows], [row[-1] for row in rows])

    def grammar(self) -> str:
        """EBNF (xgrammar dialect) of exactly what `verbalize` writes, up to the bound on characters."""
        lines = [
            f'root ::= "[]" | "[" row (", " row){{0,{MAX_ROWS - 1}}} "]"',
            'row ::= "[" cm ", " cm ", " cm ", "'
            + (' deg ", " deg ", " deg ", "' if self.degrees else "")
            + ' [01] "]"',
            f'cm ::= "{self.centimetres.written(0)}" | "-"? cm_positive',
            f"cm_positive ::= {self.centimetres.positive_rule(minimal=False)}",
        ]
        if self.degrees:
            lines.append(f'deg ::= "{self.degrees.written(0)}" | "-"? deg_positive')
            lines.append(f"deg_positive ::= {self.degrees.positive_rule(minimal=False)}")
        return "\n".join(lines) + "\n"

    def _row(self, scanner: Scanner, start: int) -> list[float]:
        """The multiples and the gripper bit of one row, behind its '['."""
        width = len(self.scales) + 1
        values: list[float] = []
        while not scanner.take("]"):
            at = scanner.skip_space()
            value = scanner.number()
            if len(values) < width - 1:
                scale = self.scales[len(values)]
                value = checked_value(value, scale, scanner.text, at) / scale.step
            elif len(values) == width - 1 and value not in (0.0, 1.0):
                raise scanner.error("the gripper, the last value of a row, must be 0 or 1", at)
            values.append(value)
            if len(values) > 7:
                break
            if not scanner.take(","):
                scanner.expect("]", "expected ',' or ']'")
                break
        if len(values) != width:
            names = "dx, dy, dz, droll, dpitch, dyaw, gripper" if self.rotation else "dx, dy, dz, gripper"
            count = f"{len(values)} or more" if len(values) > 7 else len(values)
            raise scanner.error(f"a row has {width} values ({names}), this one has {count}", start)
        return values

    def _refuse_more(self, scanner: Scanner) -> None:
        """Text behind the list is harmless, unless it goes on with actions."""
        rest = scanner.text[scanner.skip_space() :]
        another = _ANOTHER_LIST.search(rest)
        if rest.startswith(_STRAY) or another:
            where = scanner.position + (0 if rest.startswith(_STRAY) or another is None else another.start())
            raise ActionParseError(
                "expected one list of rows, and nothing like it behind", text=scanner.text, position=where
            )
