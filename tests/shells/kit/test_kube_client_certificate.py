"""A kubeconfig with a client certificate in it, as kind, kubeadm and hack/cluster write it."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path

import pytest
import yaml
from certificate_rig import make_pair

from wakeful.kit.kube import KubeClient, read_kubeconfig


async def test_the_certificate_in_the_file_is_shown_to_the_server(tmp_path: Path) -> None:
    certificate, key = make_pair()
    (tmp_path / "pair.pem").write_bytes(certificate + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=certificate.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "pair.pem")
    shown: list[object] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        shown.append(writer.get_extra_info("peercert"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    encoded = {name: base64.b64encode(value).decode() for name, value in (("c", certificate), ("k", key))}
    config = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [
            {
                "name": "x",
                "cluster": {
                    "server": f"https://127.0.0.1:{port}",
                    "certificate-authority-data": encoded["c"],
                },
            }
        ],
        "users": [
            {"name": "x", "user": {"client-certificate-data": encoded["c"], "client-key-data": encoded["k"]}}
        ],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    async with server, KubeClient(read_kubeconfig(tmp_path / "kubeconfig"), "test") as client:
        assert await client.request("GET", "/") == {}
        assert await client.text("/") == "{}"
    assert len(shown) == 2
    assert shown[0]


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    user = {"client-certificate-data": base64.b64encode(b"no").decode(), "client-key-data": ""}
    config = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": user}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    with pytest.raises((ValueError, OSError)):
        read_kubeconfig(tmp_path / "kubeconfig")
