"""`muster-coordinator keys`, on a real database."""

import asyncio
from pathlib import Path

import httpx
import pytest
import yaml

from muster_coordinator.accounts.keys import looks_like_key
from muster_coordinator.cli import main

from .harness import prepare, serving
from .tenants import workloads

pytestmark = pytest.mark.integration


class Command:
    """The command, with a configuration."""

    def __init__(self, home: Path, dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
        (home / "dsn").write_text(dsn)
        self._config = home / "keys.yaml"
        document = workloads() | {"database": {"dsn_file": str(home / "dsn")}}
        self._config.write_text(yaml.safe_dump(document))
        self._capsys = capsys

    async def run(self, *words: str) -> tuple[int, str, str]:
        """Run it; its status, and what it wrote to standard output and error."""
        self._capsys.readouterr()
        argv = ["--config", str(self._config), "keys", *words]
        status = await asyncio.to_thread(main, argv)
        written = self._capsys.readouterr()
        return status, written.out, written.err

    async def make(self, *words: str) -> str:
        """Make a key."""
        status, out, _ = await self.run("create", *words)
        assert status == 0
        return out.removesuffix("\n")


@pytest.fixture
async def command(dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    await prepare(dsn)
    return Command(tmp_path, dsn, capsys)


async def test_a_key_is_written_once_and_alone(command: Command) -> None:
    status, out, err = await command.run("create", "--customer", "acme", "--tier", "premium")
    assert status == 0
    key = out.removesuffix("\n")
    assert looks_like_key(key)
    assert "is made; it is shown only this once" in err
    assert key not in err
    _, listed, _ = await command.run("list")
    assert key not in listed
    assert key[: len("nyt_acme_") + 8] in listed


async def test_a_key_opens_what_it_is_for(command: Command, dsn: str, tmp_path: Path) -> None:
    key = await command.make("--customer", "acme", "--tier", "premium", "--name", "Acme Inc.")
    admin = await command.make("--admin")
    async with serving(dsn, workloads(), tmp_path) as replica:

        async def asked(path: str, shown: str) -> httpx.Response:
            return await replica.http.get(path, headers={"Authorization": f"Bearer {shown}"})

        found = (await asked("/v1/customer", key)).json()
        assert (found["customer_id"], found["name"]) == ("acme", "Acme Inc.")
        assert found["tier"] == "premium"
        assert (await asked("/v1/admin/queue", admin)).status_code == 200


async def test_a_second_key_leaves_the_customer_as_it_is(
    command: Command, dsn: str, tmp_path: Path
) -> None:
    await command.make("--customer", "acme", "--tier", "premium", "--name", "Acme Inc.")
    key = await command.make("--customer", "acme")
    async with serving(dsn, workloads(), tmp_path) as replica:
        headers = {"Authorization": f"Bearer {key}"}
        found = (await replica.http.get("/v1/customer", headers=headers)).json()
    assert (found["tier"], found["name"]) == ("premium", "Acme Inc.")


async def test_keys_are_listed_revoked_and_rotated(command: Command) -> None:
    first = await command.make("--customer", "acme", "--expires", "48h")
    await command.make("--customer", "other")
    await command.make("--admin")
    prefix = first[: len("nyt_acme_") + 8]

    _, listed, _ = await command.run("list", "--customer", "acme")
    head, line = listed.splitlines()
    assert head.split() == ["PREFIX", "CUSTOMER", "STATUS", "CREATED", "EXPIRES", "LAST", "USED"]
    assert line.split()[:3] == [prefix, "acme", "valid"]
    _, everything, _ = await command.run("list")
    assert len(everything.splitlines()) == 4
    assert "(administrator)" in everything

    status, out, _ = await command.run("rotate", prefix, "--overlap", "1h")
    assert status == 0
    follower = out.removesuffix("\n")
    assert follower.startswith("nyt_acme_")
    assert follower != first
    _, listed, _ = await command.run("list", "--customer", "acme")
    _, new, old = listed.splitlines()
    assert new.split()[0] == follower[: len(prefix)]
    assert old.split()[:3] == [prefix, "acme", "valid"]
    assert old.split()[5:7] < new.split()[5:7]

    assert (await command.run("revoke", prefix))[0] == 0
    _, listed, _ = await command.run("list", "--customer", "acme")
    assert listed.splitlines()[2].split()[2] == "revoked"
    status, _, err = await command.run("revoke", prefix)
    assert (status, err) == (1, f"key {prefix}: it was revoked before\n")
    status, _, err = await command.run("rotate", prefix)
    assert status == 1
    assert "there is none that is valid" in err


@pytest.mark.parametrize("action", ["revoke", "rotate"])
async def test_a_key_that_is_not_there(command: Command, action: str) -> None:
    status, out, err = await command.run(action, "nyt_acme_12345678")
    assert (status, out, err) == (1, "", "key nyt_acme_12345678: there is none\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create"], "one of the arguments --customer --admin is required"),
        (["create", "--customer", "A"], "got 'A'; allowed: 1 to 63 lower-case letters"),
        (["create", "--customer", "admin"], "got 'admin'; allowed: 1 to 63 lower-case letters"),
        (["create", "--customer", "a", "--admin"], "not allowed with argument"),
        (["create", "--customer", "a", "--tier", "gold"], "gold"),
        (["create", "--customer", "a", "--expires", "soon"], "allowed: a duration such as"),
        (["rotate", "x", "--overlap", "5"], "allowed: a duration such as"),
        (["revoke"], "the following arguments are required: prefix"),
        ([], "the following arguments are required: action"),
    ],
)
async def test_wrong_words(
    command: Command, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        await command.run(*words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


async def test_an_administrator_has_no_tier(command: Command) -> None:
    status, out, err = await command.run("create", "--admin", "--tier", "free")
    assert (status, out) == (1, "")
    assert err == "--tier and --name are for customers; allowed: beside --customer\n"


async def test_a_database_without_accounts(
    dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = await Command(tmp_path, dsn, capsys).run("list")
    assert (status, err) == (
        1,
        "the database has no accounts yet; start a coordinator on it first\n",
    )


async def test_a_database_that_is_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    away = "postgresql://muster:a-secret@127.0.0.1:1/muster"
    status, out, err = await Command(tmp_path, away, capsys).run("list")
    assert (status, out) == (1, "")
    assert "the database is away" in err
    assert "a-secret" not in err
