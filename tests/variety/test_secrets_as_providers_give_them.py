"""Secrets as people and providers write them: `echo`, editors on Windows and `--from-file` leave a line break behind.

A line break at the end, or a byte order mark before, is no part of a password. What is inside stays as it is.
"""

import base64
import codecs
from typing import Final, cast

import pytest

from resilience.adapters.kube.reader import KubeSecrets
from resilience.adapters.kube.transport import Transport
from resilience.adapters.net.credentials import Credentials
from resilience.api.names import LABEL_READABLE
from resilience.core.model.probes import SecretRef
from resilience.ports import Invalid
from tests.support.transport import FakeTransport

REF: Final = SecretRef("shop", "redis", "password")


async def given(stored: bytes) -> str:
    """The password that a check presents, when the Secret holds these bytes."""
    raw = {
        "metadata": {"name": REF.name, "labels": {LABEL_READABLE: "true"}},
        "data": {REF.key: base64.b64encode(stored).decode()},
    }
    transport = FakeTransport(held={"/api/v1/namespaces/shop/secrets/redis": raw})
    secrets = KubeSecrets(transport=cast(Transport, transport))
    return await Credentials(secrets=secrets, monotonic=lambda: 0.0).value(REF)


@pytest.mark.parametrize(
    "stored",
    [
        b"s3cret\n",
        b"s3cret\r\n",
        b"\xef\xbb\xbfs3cret",
        b"\xef\xbb\xbfs3cret\r\n",
        b"s3cret\n\n",
        "s3cret\r\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "s3cret\r\n".encode("utf-16-be"),
    ],
    ids=["line break", "CRLF", "mark", "both", "two", "PowerShell", "big-endian"],
)
async def test_what_an_editor_adds_is_no_part_of_a_password(stored: bytes) -> None:
    assert await given(stored) == "s3cret"


@pytest.mark.parametrize(
    "text", ["s3cret", " s3cret ", "two\nlines", "A: 1\nB: 2"], ids=["plain", "blanks", "two lines", "headers"]
)
async def test_what_is_inside_stays(text: str) -> None:
    assert await given(text.encode()) == text


@pytest.mark.parametrize("stored", [b"\xff\xfes", b"s3cret\xff", b"\x80"], ids=["half", "byte", "start"])
async def test_what_is_no_text_is_said_without_quoting_it(stored: bytes) -> None:
    with pytest.raises(Invalid, match=r"^key password of Secret redis is not text$"):
        await given(stored)
