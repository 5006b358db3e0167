"""Secrets as the coordinator uses them: by cluster, and for one step only what that step names."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from orbit_core.errors import FieldViolation, InvalidRequestError
from orbit_core.ids import NAME_PATTERN
from orbit_core.pb.orbit.v1 import secrets_pb2
from orbit_core.security.vault import SecretInfo, Vault
from orbit_core.spec.models import Cluster, Step


class Secrets:
    """The vault, seen through clusters."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def for_step(self, cluster: Cluster, step: Step) -> dict[str, str]:
        """Values by the names that the step uses. SecretError naming those that the vault lacks."""
        return await self.of(cluster, step.secret_names())

    async def of(self, cluster: Cluster, names: Collection[str]) -> dict[str, str]:
        """Values of a cluster's secrets. SecretError naming those that the vault lacks."""
        if not names:
            return {}
        declared = {secret.name: secret.vault_name for secret in cluster.secrets}
        values = await self._vault.lookup(cluster.project, cluster.name, [declared.get(name, name) for name in names])
        return {name: values[declared.get(name, name)] for name in names}

    async def names(self, cluster: str) -> frozenset[str]:
        """The names that a cluster may refer to: its own, and its project's."""
        project, name = split(cluster)
        return frozenset(info.name for info in await self._vault.list(project) if info.cluster in ("", name))

    async def set_all(self, cluster: str, values: Mapping[str, str]) -> None:
        project, name = split(cluster)
        for secret, value in values.items():
            await self._vault.set(project, secret, value, cluster=name)

    async def set(self, cluster: str, secret: str, value: str) -> secrets_pb2.Secret:
        """Sets one value; what is answered names it and holds nothing of it."""
        await self.set_all(cluster, {secret: value})
        return next(each for each in await self.list(cluster) if each.name == secret)

    async def list(self, cluster: str = "") -> list[secrets_pb2.Secret]:
        """What the vault holds for a cluster, or for all: also for those that are yet to be submitted, or deleted."""
        if cluster:
            project, name = split(cluster)
            return [_shown(info) for info in await self._vault.list(project) if info.cluster == name]
        projects = await self._vault.projects()
        return [_shown(info) for project in projects for info in await self._vault.list(project)]

    async def rotate(self, project: str) -> str:
        """Gives the project a new key and seals its secrets under it; the key's identifier."""
        if not NAME_PATTERN.fullmatch(project):
            violation = FieldViolation("project", "expected a project's name")
            raise InvalidRequestError(f"{project!r} does not name a project", violations=[violation])
        return await self._vault.rotate(project)

    async def delete(self, cluster: str, secret: str) -> bool:
        """Whether it was there."""
        project, name = split(cluster)
        return await self._vault.delete(project, secret, cluster=name)


def _shown(info: SecretInfo) -> secrets_pb2.Secret:
    return secrets_pb2.Secret(cluster=f"{info.project}/{info.cluster}", name=info.name, version=info.version)


def split(cluster: str) -> tuple[str, str]:
    """`<project>/<name>`, with or without `cluster/` before it."""
    project, slash, name = cluster.removeprefix("cluster/").partition("/")
    if not project or not slash or not name or "/" in name:
        violation = FieldViolation("cluster", "expected `<project>/<name>`")
        raise InvalidRequestError(f"{cluster!r} does not name a cluster", violations=[violation])
    return project, name
