"""Writes the table of accepted differences into docs/reference/parity.md: `python -m e2e.parity`.

The table stands between two marks. A test fails when the page and ``accepted.yaml`` disagree, so this is run by whoever
accepts a difference. Changes nothing else on the page.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from e2e import compare

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "parity.md"
BEGIN = "<!-- begin: e2e/accepted.yaml, written by python -m e2e.parity -->"
END = "<!-- end: e2e/accepted.yaml -->"


def main() -> int:
    """Rewrite what stands between the marks; 1 with a sentence when they are not there."""
    entries = compare.read_accepted(yaml.safe_load(Path(__file__).with_name("accepted.yaml").read_text()))
    page = PAGE.read_text()
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"{PAGE} has no line `{BEGIN}` with `{END}` after it", file=sys.stderr)
        return 1
    PAGE.write_text(f"{before}{begin}\n{compare.render_table(entries)}\n{end}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
