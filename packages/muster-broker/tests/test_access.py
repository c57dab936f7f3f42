"""Configuration of the broker: what is taken, and what is said of mistakes."""

from pathlib import Path

import pytest

from muster_broker.access import Access, BrokerSection, Credentials
from muster_runtime.config import ConfigError, Section, load
from muster_testing.authority import Authority


class Config(Section):
    broker: BrokerSection = BrokerSection()


def loaded(tmp_path: Path, **keys: object) -> BrokerSection:
    lines = "".join(f"  {key}: {value}\n" for key, value in keys.items())
    path = tmp_path / "config.yaml"
    path.write_text(f"broker:\n{lines}" if lines else "")
    return load(Config, path, {}).broker


def secret(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "secret"
    path.write_text(text)
    return path


def test_nothing_is_no_broker(tmp_path: Path) -> None:
    assert not loaded(tmp_path).enabled


def test_servers_come_from_the_environment_too() -> None:
    section = load(Config, None, {"BROKER_SERVERS": "nats://a:1, tls://b"}).broker
    assert section.enabled
    assert Access(section).servers() == (["nats://a:1", "tls://b:4222"], Credentials())


def test_a_file_may_name_servers_and_who_connects(tmp_path: Path) -> None:
    path = secret(tmp_path, "nats://muster:p%40ss@one:4222\nnats://two:4223\n")
    section = loaded(tmp_path, url_file=path)
    servers, credentials = Access(section).servers()
    assert servers == ["nats://one:4222", "nats://two:4223"]
    assert (credentials.user, credentials.password) == ("muster", "p@ss")
    assert "p@ss" not in repr(credentials)


def test_a_user_without_a_password_is_a_token(tmp_path: Path) -> None:
    section = loaded(tmp_path, url_file=secret(tmp_path, "nats://t0ken@one:4222"))
    assert Access(section).servers()[1] == Credentials(token="t0ken")


def test_what_a_file_holds_is_read_anew(tmp_path: Path) -> None:
    path = secret(tmp_path, "old\n")
    access = Access(loaded(tmp_path, servers="[nats://a]", token_file=path))
    assert access.servers()[1].token == "old"
    path.write_text("new")
    assert access.servers()[1].token == "new"


def test_user_and_password(tmp_path: Path) -> None:
    path = secret(tmp_path, "pw")
    section = loaded(tmp_path, servers="[nats://a]", user="u", password_file=path)
    assert Access(section).servers()[1] == Credentials("u", "pw")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"url_file": "/no/such"}, "broker.url_file: got '/no/such'; allowed: a file that can be"),
        ({"user": "u"}, "broker.password_file: got None; allowed: with broker.user"),
        ({"password_file": "/dev/null"}, "broker.password_file: got '/dev/null'; allowed: with"),
        ({"key_file": "/dev/null"}, "broker.key_file: got '/dev/null'; allowed: with broker.cert"),
        ({"cert_file": "/dev/null"}, "broker.cert_file: got '/dev/null'; allowed: only with"),
        ({"prefix": "a.b"}, "broker.prefix: got 'a.b'; allowed: 1 to 128 letters"),
        ({"server": "x"}, "broker.server: unknown key"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, keys: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, **keys)
    assert any(line.startswith(said) for line in refused.value.errors), refused.value.errors


def test_one_way_to_name_servers_and_one_to_say_who_connects(tmp_path: Path) -> None:
    path = secret(tmp_path, "x")
    with pytest.raises(ConfigError, match=r"url_file: .*none beside broker.servers"):
        loaded(tmp_path, servers="[nats://a]", url_file=path)
    with pytest.raises(ConfigError, match=r"token_file: .*none beside broker.user"):
        loaded(tmp_path, servers="[nats://a]", user="u", password_file=path, token_file=path)


@pytest.mark.parametrize("text", ["http://a", "nats://", "nats://a:x", "nats://a/path", ""])
def test_a_url_that_is_none_is_refused_unseen(tmp_path: Path, text: str) -> None:
    section = loaded(tmp_path, url_file=secret(tmp_path, text))
    with pytest.raises(ConfigError, match=r"broker\.url_file: .* allowed: .*nats://host:port"):
        Access(section)


def test_no_password_stands_in_the_configuration(tmp_path: Path) -> None:
    section = loaded(tmp_path, servers="['nats://u:hunter2@a:4222']")
    with pytest.raises(ConfigError, match=r"broker\.servers: has a user") as refused:
        Access(section)
    assert "hunter2" not in str(refused.value)


def test_an_empty_token_is_none(tmp_path: Path) -> None:
    section = loaded(tmp_path, servers="[nats://a]", token_file=secret(tmp_path, " \n"))
    with pytest.raises(ConfigError, match=r"broker\.token_file: .* holds no secret"):
        Access(section)


def test_certificates_are_looked_at(tmp_path: Path) -> None:
    authority = Authority("test")
    authority.write(tmp_path / "ca.crt")
    authority.issue("worker", tmp_path / "worker")
    keys = {
        "servers": "[tls://a]",
        "ca_file": tmp_path / "ca.crt",
        "cert_file": tmp_path / "worker.crt",
        "key_file": tmp_path / "worker.key",
    }
    assert Access(loaded(tmp_path, **keys)).context() is not None
    with pytest.raises(ConfigError, match=r"broker\.key_file"):
        loaded(tmp_path, **{**keys, "key_file": tmp_path / "ca.crt"})
    with pytest.raises(ConfigError, match=r"broker\.ca_file"):
        loaded(tmp_path, **{**keys, "ca_file": secret(tmp_path, "x")})
