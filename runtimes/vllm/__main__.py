"""``python -m runtimes.vllm --model_name N --model_dir DIR [vLLM's flags]``: serve a model with vLLM. Composition only.

Started by the node and by a kubelet; needs an environment with vLLM (``hack/env llm``, or vLLM's own image) beside it.
Environment: vLLM's own variables (``VLLM_CPU_KVCACHE_SPACE``, ...), ``WAKEFUL_STARTED_AT``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from runtimes.vllm import flags
from runtimes.vllm.engine import VllmModel
from wakeful.serving import server
from wakeful.serving.settings import HELP, SettingsError


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or the end of vLLM; the exit status."""
    given = sys.argv[1:] if argv is None else argv
    if not HELP.isdisjoint(given):
        from wakeful.serving import flag_help

        return flag_help.tell(
            flags.VllmSettings, "All other flags are vLLM's own: `vllm serve --help` tells them."
        )
    try:
        parsed = flags.parse(given)
    except SettingsError as error:
        return server.fail(str(error), server.EXIT_USAGE)
    model = VllmModel(parsed, os.environ)
    status = server.serve_with(lambda _: [model], parsed.ours, flags.VllmSettings)
    return server.fail(model.death) if model.death else status


if __name__ == "__main__":
    sys.exit(main())
