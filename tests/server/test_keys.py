"""API keys, quotas and session ids, without HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from empathetic_server.errors import SettingsError
from empathetic_server.keys import Keyring
from empathetic_server.quotas import Caller, Quotas, network_of
from empathetic_server.session_ids import belongs_to, is_temporary, new_session_id

KEY, OTHER = "emp_0123456789abcdef", "emp_fedcba9876543210"


def entry(key: str, name: str = "") -> str:
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()} {name}".rstrip()


def test_keys_and_hashes_may_stand_side_by_side() -> None:
    keyring = Keyring(f"{KEY}, {entry(OTHER, 'bob')}")
    assert keyring.owner(OTHER) == "bob"
    assert keyring.owner(KEY) == hashlib.sha256(KEY.encode()).hexdigest()[:12]
    for wrong in ("", "bob", KEY[:-1], KEY + "0", KEY.upper(), entry(OTHER), "\ud800", "x" * 100_000):
        assert keyring.owner(wrong) is None


def test_the_key_itself_is_not_kept() -> None:
    assert KEY not in repr(vars(Keyring(KEY)))


@pytest.mark.parametrize("source", ["", " , ", "sha256:abc", "sha256:" + "g" * 64, "file:///nowhere/keys"])
def test_a_wrong_entry_is_refused_without_being_shown(source: str) -> None:
    with pytest.raises(SettingsError, match="EMPATHETIC_API_KEYS") as refused:
        Keyring(source)
    assert "g" * 64 not in str(refused.value)


def test_a_key_that_can_be_guessed_is_told_of_but_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Keyring("hunter2")
    assert "can be guessed" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_key_is_revoked_by_removing_its_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{entry(KEY, 'ann')}\n\n{entry(OTHER, 'bob')}\n")
    keyring = Keyring(f"file://{file}")
    assert (keyring.owner(KEY), keyring.owner(OTHER), keyring.is_owner("ann")) == ("ann", "bob", True)
    file.write_text(entry(OTHER, "bob") + "\n")
    assert (keyring.owner(KEY), keyring.owner(OTHER), keyring.is_owner("ann")) == (None, "bob", False)
    file.write_text("")
    assert keyring.owner(OTHER) is None


def test_keys_that_cannot_be_read_any_more_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys"
    file.write_text(entry(KEY, "ann"))
    keyring = Keyring(f"file://{file}")
    file.write_text("sha256:nonsense")
    assert keyring.owner(KEY) == "ann"
    file.unlink()
    assert keyring.owner(KEY) == "ann"
    assert "stay as they were" in caplog.text


def test_the_command_makes_keys_that_its_entries_let_in(root: Path) -> None:
    command = [sys.executable, "-m", "empathetic_server.keys", "ann"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, env={"PYTHONPATH": str(root / "server")}).stdout
    key, made = (line.split(":", 1)[1].strip() for line in shown.splitlines())
    assert Keyring(made).owner(key) == "ann"


def charges(quotas: Quotas, *callers: Caller) -> list[int | None]:
    async def charge() -> list[int | None]:
        refusals = [await quotas.charge(caller) for caller in callers]
        return [None if refusal is None else refusal.retry_after_s for refusal in refusals]

    return asyncio.run(charge())


def test_a_quota_lets_exactly_so_many_in_and_says_when_to_come_again() -> None:
    refused = charges(Quotas("3/minute", None), *[Caller("192.0.2.1", "ann")] * 5)
    assert refused[:3] == [None] * 3
    assert all(wait is not None and 1 <= wait <= 60 for wait in refused[3:])


def test_quotas_are_per_owner_and_per_address() -> None:
    ann, bob, nobody = Caller("192.0.2.1", "ann"), Caller("192.0.2.1", "bob"), Caller("192.0.2.2")
    assert [wait is None for wait in charges(Quotas("1/minute", None), ann, bob, ann, nobody, nobody)] == [True, True, False, True, True]
    assert [wait is None for wait in charges(Quotas(None, "2/minute"), ann, bob, ann, nobody)] == [True, True, False, True]


def test_the_window_slides() -> None:
    async def charge() -> list[bool]:
        quotas, caller, allowed = Quotas(None, "2/second"), Caller("192.0.2.1"), []
        for pause_s in (0, 0.7, 0.5, 0.1):  # the third comes when the first has left the window, the fourth when the second has not
            await asyncio.sleep(pause_s)
            allowed.append(await quotas.charge(caller) is None)
        return allowed

    assert asyncio.run(charge()) == [True, True, True, False]


@pytest.mark.parametrize("quota", ["", "many", "-1/minute", "10", "10/fortnight"])
def test_a_quota_that_says_nothing_is_refused(quota: str) -> None:
    with pytest.raises(SettingsError, match="EMPATHETIC_QUOTA_PER_KEY"):
        Quotas(quota, None)


def test_addresses_of_one_network_count_together() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("testclient") == "testclient"


def test_a_session_id_is_secret_and_its_owners_alone() -> None:
    ids = {new_session_id(temporary=False, owner="ann") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(session_id.split("~")[0]) >= 22 for session_id in ids)
    for temporary in (True, False):
        session_id = new_session_id(temporary=temporary, owner="ann")
        assert is_temporary(session_id) == temporary
        assert belongs_to(session_id, "ann")
        assert not belongs_to(session_id, "bob")
        assert not belongs_to(session_id, None)
    assert belongs_to(new_session_id(temporary=False, owner=None), "anybody")
    assert not belongs_to(f"{'x' * 24}~\udc80", "ann")
