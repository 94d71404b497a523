"""Makes a container image of a user's program on one of ours, as `FROM wakeful/sklearn` and one `COPY` would.

Called by the cluster home for scenarios with an image of their own. No engine and no network: the base's layers are
taken as they are, one layer with the program is put on top, and the program becomes the entry point. The invariant: the
result is a docker-archive that differs from its base in that layer, the entry point and the name only.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

PLACE = "app/program.py"


def write(base: Path, program: Path, name: str, target: Path) -> None:
    """Writes ``target``, a docker-archive of the image ``name``. Raises ``OSError`` or ``KeyError`` for a base that is none."""
    with tarfile.open(base) as archive:
        manifest = json.loads(_read(archive, "manifest.json"))[0]
        config = json.loads(_read(archive, manifest["Config"]))
        layer = _layer(program.read_bytes())
        digest = hashlib.sha256(layer).hexdigest()
        config["config"] |= {"Entrypoint": ["python3", f"/{PLACE}"], "Cmd": None}
        config["rootfs"]["diff_ids"].append(f"sha256:{digest}")
        config.pop("history", None)
        text = json.dumps(config).encode()
        config_name = f"{hashlib.sha256(text).hexdigest()}.json"
        layers = [*manifest["Layers"], f"{digest}.tar"]
        new = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": layers}]).encode()
        with tarfile.open(target, "w") as made:
            for layer_name in dict.fromkeys(manifest["Layers"]):
                member = _real(archive, layer_name)
                made.addfile(_info(layer_name, member.size), archive.extractfile(member))
            for path, content in (
                (f"{digest}.tar", layer),
                (config_name, text),
                ("manifest.json", new),
            ):
                made.addfile(_info(path, len(content)), io.BytesIO(content))


def _layer(content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as layer:
        folder = tarfile.TarInfo(str(Path(PLACE).parent))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        layer.addfile(folder)
        layer.addfile(_info(PLACE, len(content)), io.BytesIO(content))
    return out.getvalue()


def _info(name: str, size: int) -> tarfile.TarInfo:
    """Root's, readable by all, from 1970: the same content gives the same bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o444
    return info


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    found = archive.extractfile(_real(archive, name))
    assert found is not None  # a file, or _real would have raised
    return found.read()


def _real(archive: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    """The file behind a name: builders link equal layers."""
    member = archive.getmember(name)
    if member.issym():
        return _real(archive, str((Path("/") / name).parent.joinpath(member.linkname).resolve())[1:])
    return archive.getmember(member.linkname) if member.islnk() else member
