"""Writes the files of the folder /model, one level, below the folder in its argument: how a test fills a claim."""

import pathlib
import sys

target = pathlib.Path(sys.argv[1])
for path in sorted(pathlib.Path(sys.argv[2]).iterdir()):
    if path.is_file():
        folder, _, name = path.name.partition("__")
        (target / folder).mkdir(parents=True, exist_ok=True)
        (target / folder / name).write_bytes(path.read_bytes())
