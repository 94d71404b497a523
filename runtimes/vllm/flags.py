"""Which command-line flags are our server's and which are vLLM's, in the order people write them.

``python -m runtimes.vllm`` takes both: flags with a field in ``VllmSettings`` are ours (``-`` and ``_`` alike), vLLM's
names for the same things (``--port``, ``--served-model-name``, ``--model``) are understood, everything else goes to
``vllm serve`` as it stands and is checked there. Flags that would open vLLM to anybody but us are refused.

Invariant: no flag reaches vLLM that lets a request make it fetch, load code, or listen where others reach it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from wakeful.serving import settings
from wakeful.serving.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class VllmSettings(Settings):
    """The settings of the server in front of vLLM."""

    drain_s: float = 25.0
    """Seconds that running generations get after SIGTERM; raise it with terminationGracePeriodSeconds."""
    vllm_command: str = ""
    """The ``vllm`` program; '' looks beside this Python, then on PATH."""
    load_timeout_s: float = 1800.0
    """Seconds until vLLM must answer; it compiles kernels and captures graphs at its first start."""
    trust_remote_code: bool = False
    """Whether code in the model's folder may run. Off: who writes a model's files should not run programs here."""


OURS_BY_ANOTHER_NAME = {
    "port": "http_port",
    "host": "http_address",
    "model": "model_dir",
    "served_model_name": "model_name",
}
REFUSED = {
    "api_key": "this server has no keys of its own: let the gateway or a mesh ask for them",
    "uds": "the socket to vLLM is this server's",
    "fd": "the socket to vLLM is this server's",
    "ssl_keyfile": "TLS ends before this server",
    "ssl_certfile": "TLS ends before this server",
    "ssl_ca_certs": "TLS ends before this server",
    "middleware": "it would run code of its own between this server and vLLM",
    "allowed_local_media_path": "callers could read files of the server",
    "allowed_media_domains": "nothing is fetched for callers",
    "trust_request_chat_template": "templates of callers are not run",
    "enable_prompt_embeds": "tensors of callers are not loaded",
    "enable_mm_embeds": "tensors of callers are not loaded",
    "headless": "an engine without its server cannot be asked",
    "root_path": "vLLM is only asked by this server",
    "shutdown_timeout": "--drain_s says how long running generations get",
}


@dataclass(frozen=True, slots=True)
class Flags:
    """Both servers' flags."""

    settings: VllmSettings
    aliases: tuple[str, ...]
    """Names after the first of ``--served-model-name``."""
    engine: tuple[str, ...]
    """vLLM's flags."""
    ours: tuple[str, ...]
    """Our flags, for ``wakeful.serving.server``."""


def parse(argv: Sequence[str]) -> Flags:
    """Split the command line. Raises ``SettingsError``."""
    ours: list[str] = []
    engine: list[str] = []
    aliases: tuple[str, ...] = ()
    names = {field.name for field in fields(VllmSettings)} | settings.IGNORED
    for flag, values in _groups(argv):
        name, has_value, value = flag[2:].partition("=")
        name = name.replace("-", "_")
        if name in REFUSED:
            raise SettingsError(f"--{name} is refused: {REFUSED[name]}")
        name = OURS_BY_ANOTHER_NAME.get(name, name)
        given = [value, *values] if has_value else values
        if name not in names:
            engine += [flag, *values]
            continue
        if name == "model_name":
            aliases = tuple(given[1:])
            given = given[:1]
        if name == "trust_remote_code" and not given:
            given = ["true"]
        ours += [f"--{name}", *given] if given else [f"--{name}"]
    parsed = settings.parse(ours, VllmSettings)
    if any("/" in alias for alias in aliases):
        raise SettingsError("--served-model-name: a name cannot hold '/'")
    return Flags(parsed.settings, aliases, tuple(engine), tuple(ours))


def _groups(argv: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each flag with the words after it. vLLM's model may stand alone at the beginning, as in ``vllm serve MODEL``."""
    groups: list[tuple[str, list[str]]] = []
    for word in argv:
        if word.startswith("--") and len(word) > 2:
            groups.append((word, []))
        elif groups:
            groups[-1][1].append(word)
        else:
            groups.append(("--model", [word]))
    return groups


def command(flags: Flags, program: Sequence[str], socket: str) -> list[str]:
    """The command line of vLLM. Its own drain is short: this server's comes first, and asks nothing of it after."""
    own = [
        *program,
        "serve",
        flags.settings.model_dir,
        "--served-model-name",
        flags.settings.model_name,
        *flags.aliases,
        "--uds",
        socket,
        "--shutdown-timeout",
        "5",
        "--disable-uvicorn-access-log",
    ]
    if flags.settings.trust_remote_code:
        own.append("--trust-remote-code")
    return [*own, *flags.engine]
