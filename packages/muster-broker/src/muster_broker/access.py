"""Configuration: which NATS servers, as whom, and how sure of them."""

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from muster_broker.subjects import PREFIX, Subjects
from muster_runtime.config import ConfigError, OptionalFile, Section
from muster_runtime.pem import check_authorities, check_pair

_SCHEMES = ("nats", "tls")
_SECRET = re.compile(r"[!-~]+")
_DEFAULT_PORT = 4222


def _listed(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _readable(value: Path | None) -> Path | None:
    if value is not None:
        try:
            with value.open("rb"):
                pass
        except OSError as error:
            raise ValueError(f"a file that can be read; this one: {error.strerror}") from None
    return value


class BrokerSection(Section):
    """The NATS server that coordinators and workers meet at; nothing of it is none.

    Attributes:
        servers: `nats://host:port`, any of which may be connected to.
        url_file: holds such URLs instead, one a line, which may name user and password.
        prefix: a word before all subjects, where several coordinators share one server.
        ca_file: authorities of the server's certificate; a server without TLS is refused then.
        server_name: what that certificate has to be for; empty for the host of the URL.
    """

    servers: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    url_file: OptionalFile = None
    user: Annotated[str, Field(max_length=253)] = ""
    password_file: OptionalFile = None
    token_file: OptionalFile = None
    ca_file: OptionalFile = None
    cert_file: OptionalFile = None
    key_file: OptionalFile = None
    server_name: Annotated[str, Field(max_length=253)] = ""
    prefix: str = ""

    @field_validator("url_file", "password_file", "token_file")
    @classmethod
    def _exists(cls, value: Path | None) -> Path | None:
        return _readable(value)

    @field_validator("url_file")
    @classmethod
    def _one_source(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("servers"):
            raise ValueError("none beside broker.servers")
        return value

    @field_validator("password_file")
    @classmethod
    def _with_user(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) == bool(info.data.get("user")):
            raise ValueError("with broker.user, and only with it")
        return value

    @field_validator("token_file")
    @classmethod
    def _without_user(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("user"):
            raise ValueError("none beside broker.user")
        return value

    @field_validator("ca_file")
    @classmethod
    def _authorities(cls, value: Path | None) -> Path | None:
        if value is not None:
            check_authorities(value)
        return value

    @field_validator("cert_file")
    @classmethod
    def _with_authorities(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("ca_file") is None:
            raise ValueError("only with broker.ca_file")
        return value

    @field_validator("key_file")
    @classmethod
    def _pair(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("cert_file")
        if (value is None) != (certificate is None):
            raise ValueError("with broker.cert_file, and only with it")
        if value is not None and certificate is not None:
            check_pair(certificate, value)
        return value

    @field_validator("prefix")
    @classmethod
    def _word(cls, value: str) -> str:
        if value and PREFIX.fullmatch(value) is None:
            raise ValueError(
                "1 to 128 letters, digits, '-' and '_', a letter or digit at both ends"
            )
        return value

    @property
    def enabled(self) -> bool:
        """Whether there is a broker."""
        return bool(self.servers) or self.url_file is not None

    @property
    def subjects(self) -> Subjects:
        """Where messages go."""
        return Subjects(self.prefix)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who connects; a user with a password, or a token, or nobody in particular."""

    user: str = ""
    password: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return "Credentials()"


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the broker; files are read for each connection, as what is in them rotates.

    Raises:
        ConfigError: from the constructor: a URL is none, or a file has no secret in it.
    """

    section: BrokerSection

    def __post_init__(self) -> None:
        try:
            self.servers()
        except ValueError as error:
            raise ConfigError([str(error)]) from None
        except OSError as error:
            raise ConfigError([f"broker.url_file: {error}"]) from error

    def servers(self) -> tuple[list[str], Credentials]:
        """URLs without secrets, and the secrets.

        Raises:
            OSError: a file can't be read.
            ValueError: there is something else in it; the text does not show what.
        """
        section = self.section
        key, texts = "broker.servers", list(section.servers)
        if section.url_file is not None:
            key = "broker.url_file"
            texts = section.url_file.read_text(encoding="utf-8").replace(",", " ").split()
        if not texts:
            raise ValueError(f"{key}: is empty; allowed: at least one {_ALLOWED}")
        urls = [_url(key, text) for text in texts]
        named = [url for url in urls if url.username is not None]
        if named and section.url_file is None:
            raise ValueError(f"{key}: has a user; allowed: URLs without, or broker.url_file")
        servers = [f"{url.scheme}://{_address(url)}" for url in urls]
        return servers, self._credentials(named)

    def context(self) -> ssl.SSLContext | None:
        """TLS as configured; None without.

        Raises:
            OSError: a file can't be read.
        """
        section = self.section
        if section.ca_file is None:
            return None
        context = ssl.create_default_context(cafile=section.ca_file)
        if section.cert_file is not None:
            context.load_cert_chain(section.cert_file, section.key_file)
        return context

    def _credentials(self, named: list[SplitResult]) -> Credentials:
        section = self.section
        if section.token_file is not None:
            return Credentials(token=_secret("broker.token_file", section.token_file))
        if section.password_file is not None:
            password = _secret("broker.password_file", section.password_file)
            return Credentials(section.user, password)
        if not named:
            return Credentials()
        user = unquote(named[0].username or "")
        if named[0].password is None:
            return Credentials(token=user)
        return Credentials(user, unquote(named[0].password))


_ALLOWED = "nats://host:port, or tls://host:port"


def _url(key: str, text: str) -> SplitResult:
    try:
        url = urlsplit(text if "://" in text else f"nats://{text}")
        fits = url.scheme in _SCHEMES and url.hostname and (url.port is None or url.port > 0)
    except ValueError:
        fits = None
    if not fits or url.path.strip("/") or url.query or url.fragment:
        # The URL itself is not shown: a password may be in it.
        raise ValueError(f"{key}: has something else in it; allowed: {_ALLOWED}")
    return url


def _address(url: SplitResult) -> str:
    host = url.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{url.port or _DEFAULT_PORT}"


def _secret(key: str, path: Path) -> str:
    text = path.read_text(encoding="latin-1").strip()
    if _SECRET.fullmatch(text) is None:
        raise ValueError(
            f"{key}: {path} holds no secret; allowed: one, of visible ASCII characters"
        )
    return text
