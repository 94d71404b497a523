"""``python -m standalone.apiserver --data-dir D --port 6443``: the embedded Kubernetes API of one machine.

The composition root: settings, credentials, database, reviewers, server, admin socket. Exit status 0 after SIGTERM
or SIGINT, 1 when it cannot start, with one sentence on stderr. Invariant: the kubeconfig exists before the port
listens, and the admin page says ``ok`` only while writes can be stored.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys

from standalone.apiserver import credentials, server_assembly, settings
from standalone.apiserver.followed_configmaps import Followed
from standalone.apiserver.ports import Reviewers
from standalone.apiserver.server import ListenError
from standalone.apiserver.server_admin import start_admin
from standalone.apiserver.store import Store
from standalone.apiserver.store_db import Database, DatabaseError
from standalone.layout import Layout
from wakeful.kit import lifecycle, logs

_log = logs.get("apiserver")


def load_reviewers() -> tuple[Reviewers, list[Followed]]:
    """The in-process admission of the Knative kinds, and the settings it follows, where that part is installed."""
    if importlib.util.find_spec("standalone.knative.admission") is None:
        return {}, []
    from standalone.knative import admission, eventing_admission
    from wakeful.core.api.knative_serving_names import SYSTEM_NAMESPACE

    reviewers = {**admission.REVIEWERS, **eventing_admission.EVENTING_REVIEWERS}
    return reviewers, [Followed(SYSTEM_NAMESPACE, admission.ADMISSION.load)]


async def main(options: settings.Settings) -> int:
    """Serve until a signal; the exit status."""
    stop = lifecycle.stop_event()
    layout = Layout(options.data_dir)
    try:
        layout.make()
        database = Database(layout.objects_db)
        store = Store(database)
        identity = credentials.ensure(options.data_dir, options.port)
    except DatabaseError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"cannot use the data directory {options.data_dir}: {error.strerror or error}")
    assembly = server_assembly.assemble(options, identity, store, *load_reviewers())
    admin = None
    try:
        await assembly.start()
        if options.port == 0:
            credentials.ensure(options.data_dir, assembly.server.port)
        admin = await start_admin(layout.socket("apiserver"), assembly)
        chosen = dataclasses.asdict(options)
        _log.info(
            "serving",
            address=f"https://{options.host}:{assembly.server.port}",
            data_dir=str(chosen["data_dir"]),
        )
        await lifecycle.run_until(stop, *assembly.loops)
    except ListenError as error:
        return _refuse(str(error))
    finally:
        if admin is not None:
            await admin.close()
        await assembly.stop()
    return 0


def _refuse(sentence: str) -> int:
    print(f"apiserver: {sentence}", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(lifecycle.run(main(settings.parse(sys.argv[1:]))))
