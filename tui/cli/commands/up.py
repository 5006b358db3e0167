"""`orbit up`: a mesh on this machine, in the foreground, until Ctrl-C."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import click
import psutil
from rich.console import Console
from rich.text import Text

from orbit_core.client import context_file, orbit_home
from orbit_core.errors import FieldViolation, InvalidRequestError, PreconditionError, StoreError
from orbit_core.limits import GIB, MIB
from orbit_core.sched.tariff import rate
from orbit_core.spec.capacity_file import read_capacity
from orbit_core.store.blobs.home import BlobHome, open_home
from orbit_core.store.embedded import configured_endpoints
from tui.cli.session import Session
from tui.cli.words import money, plural
from tui.mesh import AgentPlan, ChildEnded, LocalMesh
from tui.mesh.signals import until_signalled

_LOOK_EVERY_S = 1.0


@click.command()
@click.option("-n", "--agents", type=click.IntRange(min=0, max=64), default=1, show_default=True)
@click.option("--coordinators", type=click.IntRange(min=1, max=9), default=1, show_default=True)
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Keep everything here.  [temporary]")
@click.option(
    "--price",
    "prices",
    type=click.FloatRange(min=0),
    multiple=True,
    default=(0.10,),
    help="US dollars an hour; repeat it for agents of several prices.",
)
@click.option(
    "--tariff",
    "tariffs",
    multiple=True,
    metavar="HH:MM=USD[,…]",
    help="Prices by the time of day (UTC) of the first agent; repeat it for the next ones. Goes before --price.",
)
@click.option("--price-kind", type=click.Choice(["owned", "on-demand", "spot"]), default="owned", show_default=True)
@click.option("--cpus", type=click.FloatRange(min=0.1), help="Cores that each agent offers.  [an even share]")
@click.option("--memory", metavar="4GiB", help="Memory that each agent offers.  [an even share]")
@click.option("--slots", type=click.IntRange(min=1), help="Attempts at once on each agent at most.")
@click.option("--listen", default="127.0.0.1", show_default=True, metavar="HOST[:PORT]", help="For clients and agents.")
@click.option("--http", type=click.IntRange(1, 65_535), metavar="PORT", help="Take webhooks there.  [nowhere]")
@click.option("--context", default="local", show_default=True, help="The name under which other commands find it.")
@click.option("--allow-private-addresses", is_flag=True, help="Satellites may call loopback and private addresses.")
@click.option(
    "--capacity", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Machines that may be bought."
)
@click.option(
    "--blobs", envvar="ORBIT_BLOBS", metavar="s3://BUCKET/PREFIX", help="Keep blobs there.  [on this machine]"
)
@click.option("--blobs-endpoint", envvar="ORBIT_BLOBS_ENDPOINT", default="", metavar="URL", help="Of its S3.  [AWS]")
@click.option("--blobs-region", envvar="ORBIT_BLOBS_REGION", default="", metavar="REGION")
def up(
    agents: int,
    coordinators: int,
    data: Path | None,
    prices: tuple[float, ...],
    tariffs: tuple[str, ...],
    price_kind: str,
    cpus: float | None,
    memory: str | None,
    slots: int | None,
    listen: str,
    http: int | None,
    context: str,
    allow_private_addresses: bool,
    capacity: Path | None,
    blobs: str | None,
    blobs_endpoint: str,
    blobs_region: str,
) -> None:
    """Keep a mesh on this machine running in the foreground.

    That is etcd, coordinators and agents, as child processes. Other terminals find it by themselves. Ctrl-C ends it;
    a second Ctrl-C does not wait for what runs. ORBIT_ETCD_ENDPOINTS names an etcd of your own; --data then says where
    all else is kept.
    """
    session = Session()
    host, port = _host_and_port(listen)
    if not _is_loopback(host):
        _warn_of_the_open(session.err, host)
    if capacity is not None:
        read_capacity(capacity)  # what is wrong with it is said here, and not by a child's log
    etcd = configured_endpoints()
    if etcd and data is None:
        raise PreconditionError(
            "the etcd in ORBIT_ETCD_ENDPOINTS would outlive the key to its secrets and the objects that it refers to",
            remedy="say with --data where these are kept",
        )
    cpus = cpus or _share_of_cores(agents)
    memory = memory or _share_of_memory(agents)
    rates = _rates(tariffs, agents)
    plans = [
        AgentPlan(price, price_kind, tariff=tariff, cpus=cpus, memory=memory, slots=slots)
        for price, tariff in zip(itertools.cycle(prices), rates, strict=False)
    ]
    home = BlobHome(blobs, blobs_endpoint, blobs_region) if blobs else None
    mesh = LocalMesh(
        plans,
        coordinators=coordinators,
        data=data,
        etcd=etcd,
        listen_host=host,
        listen_port=port,
        http_port=http,
        allow_private_addresses=allow_private_addresses,
        blobs=home,
        capacity=capacity,
        on_end=lambda ended: _tell_end(session, ended),
    )
    webhooks = [f"http://{host}:{http + index}" for index in range(coordinators)] if http else []
    asyncio.run(until_signalled(_keep(session, mesh, context, webhooks, home)))


def _share_of_cores(agents: int) -> float:
    """An even share of this machine, and never less than the one core that most satellites ask for."""
    return max(1.0, len(os.sched_getaffinity(0)) / max(1, agents)) if hasattr(os, "sched_getaffinity") else 1.0


def _share_of_memory(agents: int) -> str:
    """The same of its memory: reading a scanned page takes well over one GiB."""
    return f"{max(2 * GIB, psutil.virtual_memory().total // max(1, agents)) // MIB}MiB"


async def _keep(
    session: Session, mesh: LocalMesh, context: str, webhooks: Sequence[str], home: BlobHome | None
) -> None:
    try:
        if home is not None:
            await open_home(home)  # a bucket that cannot be had is said here, and not by a child's log
        with session.err.status(f"starting etcd, {plural(len(mesh.plans), 'agent')} …"):
            await mesh.start()
        with context_file(orbit_home(), mesh.addresses, context) as file:
            _welcome(session, mesh, file, webhooks)
            while not mesh.etcd_ended:  # noqa: ASYNC110 - another process's end: there is no event to wait for
                await asyncio.sleep(_LOOK_EVERY_S)
        raise StoreError(
            "etcd ended, and nothing can be done without it",
            remedy=f"its logs are in {mesh.data / 'etcd'}; `orbit up --data {mesh.data}` goes on where it was"
            if not mesh.temporary
            else "`orbit up --data DIR` keeps what a mesh has done, and etcd's logs",
        )
    finally:
        session.note("stopping …")
        await mesh.stop()


def _welcome(session: Session, mesh: LocalMesh, file: Path, webhooks: Sequence[str]) -> None:
    words = {"a tariff" if plan.tariff else money(plan.price_usd_per_hour) for plan in mesh.plans}
    prices = ", ".join(sorted(words)) or "none"
    where = f"temporary, in {mesh.data}" if mesh.temporary else str(mesh.data)
    for name, text in (
        ("mesh", f"up at {', '.join(mesh.addresses)}"),
        ("agents", f"{len(mesh.plans)} at {prices} an hour"),
        *([("webhooks", f"posted to {', '.join(webhooks)}")] if webhooks else []),
        ("data", where),
        ("logs", str(mesh.log_dir)),
        ("context", str(file)),
        ("next", "in another terminal: orbit agents, orbit submit FILE, orbit trigger CLUSTER -w"),
        ("end", "Ctrl-C"),
    ):
        session.out.print(Text.assemble((f"{name:8} ", "bold"), text), soft_wrap=True)
    session.out.file.flush()


def _tell_end(session: Session, ended: ChildEnded) -> None:
    session.err.print(Text(str(ended), "bold red"), soft_wrap=True)
    for line in ended.log_tail.splitlines()[-3:]:
        session.err.print(Text(f"  {line}", "dim"), soft_wrap=True)
    session.note("the rest goes on without it; Ctrl-C and `orbit up` again start it anew")


def _rates(tariffs: Sequence[str], agents: int) -> list[tuple[str, ...]]:
    """The rates of each agent's tariff, as the agent takes them; none for those beyond the last that is given."""
    try:
        if len(tariffs) > agents:
            raise ValueError(f"there are {len(tariffs)} tariffs and {agents} agents")
        for tariff in tariffs:
            for each in tariff.split(","):
                rate(each)
    except ValueError as error:
        raise InvalidRequestError(
            f"the tariffs are not what they should be: {error}",
            violations=[FieldViolation("--tariff", "HH:MM=USD[,HH:MM=USD…] is expected, once for each agent")],
            remedy="write it like --tariff 06:00=0.40,22:00=0.05",
        ) from error
    given = [tuple(each.strip() for each in tariff.split(",")) for tariff in tariffs]
    return given + [()] * (agents - len(given))


def _host_and_port(listen: str) -> tuple[str, int]:
    """`HOST`, `HOST:PORT`, `[::1]:PORT`. Port 0: any free one."""
    host, colon, port = listen.rpartition(":") if not listen.endswith("]") else (listen, "", "")
    if not colon:
        return listen, 0
    if not port.isdigit() or int(port) > 65_535 or not host:
        raise InvalidRequestError(
            f"{listen!r} is not where one can listen",
            violations=[FieldViolation("--listen", "HOST or HOST:PORT is expected")],
            remedy="write it like 127.0.0.1:7070",
        )
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _warn_of_the_open(console: Console, host: str) -> None:
    warning = (
        f" WARNING: the mesh will listen on {host} without TLS and without asking who calls. \n"
        " Whoever reaches this machine can run work on it and use its secrets. Only on a network that you trust. "
    )
    console.print(Text(warning, "bold white on red"), soft_wrap=True)
