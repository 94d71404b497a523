"""The webhooks' certificate changes while the API server calls them, and no call fails."""

from __future__ import annotations

import asyncio
import base64
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from controller_rig import Rig
from cryptography import x509

from controller.cache import INFERENCE_SERVICES
from controller.webhooks import certificates
from controller.webhooks.authority import CONFIGURATIONS
from wakeful.kit.kube import ApiError

pytestmark = [pytest.mark.platform, pytest.mark.timeout(120)]

HOSTS = ("wakeful-webhook.wakeful-system.svc",)
NO_MODEL = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "iris", "namespace": "default"},
    "spec": {
        "predictor": {"model": {"modelFormat": {"name": "sklearn"}}, "minReplicas": 3, "maxReplicas": 1}
    },
}


async def serial(port: int) -> int:
    """Of the certificate that is served now."""
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


async def is_called(rig: Rig) -> bool:
    """Whether a review comes from the webhook; what it says of a bad object is in the answer."""
    try:
        await rig.client.create(INFERENCE_SERVICES, "default", NO_MODEL)
    except ApiError as error:
        if "failed calling webhook" in str(error):
            return False
        assert "maxReplicas" in str(error), error
        return True
    raise AssertionError("a bad object was accepted")


async def bundles(rig: Rig) -> list[str]:
    found = [await rig.client.get(item, None, "wakeful") for item in CONFIGURATIONS]
    return [hook["clientConfig"].get("caBundle", "") for item in found for hook in item["webhooks"]]


async def test_own_certificates_are_renewed_without_a_failed_call(rig: Rig) -> None:
    replica = rig.start("one", "--certificate-life-s", "6")
    await rig.until(replica.is_ready, "not ready")
    serials = {await serial(rig.webhook_port)}
    async with asyncio.timeout(40):
        while len(serials) < 3:
            assert await is_called(rig), replica.log.read_text()
            serials.add(await serial(rig.webhook_port))
    for bundle in await bundles(rig):
        owners = [
            certificates.owner_of(item) for item in x509.load_pem_x509_certificates(base64.b64decode(bundle))
        ]
        assert 1 <= owners.count("one") <= 2, "what is not served any more is not trusted any more"


async def test_a_kept_certificate_serves_the_next_process(rig: Rig, tmp_path: Path) -> None:
    flags = ("--webhook-certs", str(tmp_path / "certs"))
    first = rig.start("one", *flags)
    await rig.until(first.is_ready, "not ready")
    before = await serial(rig.webhook_port)
    assert (tmp_path / "certs" / "tls.key").stat().st_mode & 0o077 == 0
    first.end()
    second = rig.start("one", *flags)
    await rig.until(second.is_ready, "not ready")
    assert await serial(rig.webhook_port) == before


async def test_certificates_that_somebody_else_makes(rig: Rig, tmp_path: Path) -> None:
    """As with cert-manager: the files change under the controller, which never writes the bundle."""
    folder = tmp_path / "given"
    folder.mkdir()
    pair = give(folder)
    replica = rig.start("one", "--webhook-certs-from", str(folder))
    await inject(rig, pair)
    await rig.until(replica.is_ready, "not ready")
    assert await is_called(rig)
    before = await serial(rig.webhook_port)
    other = give(folder)
    await inject(rig, pair, other)

    async def has_changed() -> bool:
        return await serial(rig.webhook_port) != before

    await rig.until(has_changed, "the new files were not taken up")
    assert await is_called(rig)
    assert set(await bundles(rig)) == {base64.b64encode(pair.ca_cert + other.ca_cert).decode()}


async def test_a_given_certificate_that_is_wrong_is_told(rig: Rig, tmp_path: Path) -> None:
    pair = certificates.make(("other.svc",), "", datetime.now(UTC), timedelta(days=1))
    for name, data in (("ca.crt", pair.ca_cert), ("tls.crt", pair.cert), ("tls.key", pair.key)):
        (tmp_path / name).write_bytes(data)
    replica = rig.start("one", "--webhook-certs-from", str(tmp_path))

    async def is_told() -> bool:
        return "is not valid for wakeful-webhook.wakeful-system.svc" in replica.log.read_text()

    await rig.until(is_told, "nothing was said")
    assert replica.process.poll() is None


def give(folder: Path) -> certificates.Pair:
    pair = certificates.make(HOSTS, "", datetime.now(UTC), timedelta(days=1))
    for name, data in (("ca.crt", pair.ca_cert), ("tls.crt", pair.cert), ("tls.key", pair.key)):
        (folder / name).write_bytes(data)
    return pair


async def inject(rig: Rig, *pairs: certificates.Pair) -> None:
    bundle = base64.b64encode(b"".join(item.ca_cert for item in pairs)).decode()
    for resource in CONFIGURATIONS:
        found = await rig.client.get(resource, None, "wakeful")
        for hook in found["webhooks"]:
            hook["clientConfig"]["caBundle"] = bundle
        await rig.client.replace(resource, None, found)
