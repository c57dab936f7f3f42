"""`muster-coordinator keys`: make, list, revoke and rotate API keys.

A key is written to standard output when it is made, alone on its line, and nowhere else ever.
"""

import argparse
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from muster_coordinator.accounts.keys import CUSTOMER_IDS, NewKey, is_customer_id, new_key
from muster_coordinator.engine.customers import ApiKey, Customer, Tier
from muster_coordinator.engine.errors import EngineError
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.ports import AccountStore
from muster_coordinator.store.accounts import PostgresAccounts
from muster_coordinator.store.database import Database
from muster_runtime.config import parse_duration

_LIFETIME = timedelta(days=365)
_OVERLAP = timedelta(days=1)


def add_parser(commands: Any) -> None:
    """Add the command to those of `muster-coordinator`."""
    parser = commands.add_parser("keys", help="API keys of customers and administrators")
    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a key, and write it to standard output")
    owner = create.add_mutually_exclusive_group(required=True)
    owner.add_argument("--customer", type=_customer, help=f"its customer: {CUSTOMER_IDS}")
    owner.add_argument("--admin", action="store_true", help="a key for /v1/admin")
    create.add_argument(
        "--tier", type=Tier, choices=list(Tier), help="of the customer; free where it is new"
    )
    create.add_argument("--name", help="of the customer, as people call it")
    create.add_argument(
        "--expires", type=_span, default=_LIFETIME, help="after what time, as in 8760h (a year)"
    )
    listing = actions.add_parser("list", help="all keys, without their secrets")
    listing.add_argument("--customer", type=_customer, help="those of one customer")
    revoke = actions.add_parser("revoke", help="end a key now")
    revoke.add_argument("prefix", help="as in the list")
    rotate = actions.add_parser("rotate", help="make a key that takes the place of another")
    rotate.add_argument("prefix", help="as in the list")
    rotate.add_argument(
        "--overlap", type=_span, default=_OVERLAP, help="how long the old one stays, as in 24h"
    )


async def run(arguments: argparse.Namespace, dsn: str) -> int:
    """Do what the command line says; the exit status, 1 where it can't be done."""
    try:
        async with Database(dsn) as database:
            store = PostgresAccounts(database)
            return await _ACTIONS[arguments.action](store, arguments)
    except asyncpg.UndefinedTableError:
        return _refuse("the database has no accounts yet; start a coordinator on it first")
    except EngineError as error:
        return _refuse(str(error))
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        # By its name only: the text may hold the connection string.
        return _refuse(f"the database is away: {type(error).__name__}")


async def _create(store: AccountStore, arguments: argparse.Namespace) -> int:
    customer: str | None = arguments.customer
    if customer is None and (arguments.tier or arguments.name):
        return _refuse("--tier and --name are for customers; allowed: beside --customer")
    if customer is not None:
        await _put_customer(store, customer, arguments)
    made = new_key(customer)
    await store.add_key(_record(made, customer, arguments.expires), made.digest)
    _hand_over(made)
    return 0


async def _put_customer(store: AccountStore, customer: str, arguments: argparse.Namespace) -> None:
    known = await store.customer(customer)
    wanted = known or Customer(customer, customer)
    if arguments.tier:
        wanted = replace(wanted, tier=arguments.tier)
    if arguments.name:
        wanted = replace(wanted, name=arguments.name)
    if wanted != known:
        await store.put_customer(wanted)


async def _list(store: AccountStore, arguments: argparse.Namespace) -> int:
    rows = [("PREFIX", "CUSTOMER", "STATUS", "CREATED", "EXPIRES", "LAST USED")]
    rows += [
        (
            key.prefix,
            key.customer_id or "(administrator)",
            _status(key),
            _day(key.created_at),
            _day(key.expires_at),
            _day(key.last_used_at),
        )
        for key in await store.keys(arguments.customer)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())  # noqa: T201 - what was asked for, as all here
    return 0


async def _revoke(store: AccountStore, arguments: argparse.Namespace) -> int:
    key = await _named(store, arguments.prefix)
    if key is None:
        return _refuse(f"key {arguments.prefix}: there is none")
    if not await store.revoke_key(key.id):
        return _refuse(f"key {arguments.prefix}: it was revoked before")
    print(f"key {key.prefix} is revoked", file=sys.stderr)  # noqa: T201
    return 0


async def _rotate(store: AccountStore, arguments: argparse.Namespace) -> int:
    old = await _named(store, arguments.prefix)
    if old is None:
        return _refuse(f"key {arguments.prefix}: there is none")
    lifetime = _LIFETIME
    if old.expires_at is not None and old.created_at is not None:
        lifetime = old.expires_at - old.created_at
    made = new_key(old.customer_id or None)
    record = _record(made, old.customer_id or None, lifetime)
    await store.rotate_key(old.id, record, made.digest, arguments.overlap.total_seconds())
    _hand_over(made)
    return 0


_ACTIONS: dict[str, Callable[[AccountStore, argparse.Namespace], Awaitable[int]]] = {
    "create": _create,
    "list": _list,
    "revoke": _revoke,
    "rotate": _rotate,
}


async def _named(store: AccountStore, prefix: str) -> ApiKey | None:
    return next((key for key in await store.keys() if key.prefix == prefix), None)


def _record(made: NewKey, customer: str | None, lifetime: timedelta) -> ApiKey:
    return ApiKey(
        new_id(),
        customer or "",
        made.prefix,
        admin=customer is None,
        expires_at=datetime.now(UTC) + lifetime,
    )


def _hand_over(made: NewKey) -> None:
    print(made.text)  # noqa: T201
    print(  # noqa: T201
        f"key {made.prefix} is made; it is shown only this once", file=sys.stderr
    )


def _refuse(text: str) -> int:
    print(text, file=sys.stderr)  # noqa: T201
    return 1


def _status(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.valid(datetime.now(UTC)) else "expired"


def _day(at: datetime | None) -> str:
    return "-" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _customer(text: str) -> str:
    if not is_customer_id(text):
        raise argparse.ArgumentTypeError(f"got {text[:64]!r}; allowed: {CUSTOMER_IDS}")
    return text


def _span(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text[:64]!r}; allowed: {error}") from None
