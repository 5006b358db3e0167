"""Secrets as the coordinator uses them: by cluster, and for one step only what that step names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orbit_core.errors import FieldViolation, InvalidRequestError, SecretError
from orbit_core.pb.orbit.v1 import secrets_pb2
from orbit_core.security.vault import Vault
from orbit_core.spec.models import Cluster, Step


class Secrets:
    """The vault, seen through clusters."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def for_step(self, cluster: Cluster, step: Step) -> dict[str, str]:
        """Values by the names that the step uses. SecretError naming those that the vault lacks."""
        declared = {secret.name: secret.vault_name for secret in cluster.secrets}
        values: dict[str, str] = {}
        missing: list[str] = []
        for name in step.secret_names():
            value = await self._vault.get(cluster.project, cluster.name, declared.get(name, name))
            if value is None:
                missing.append(name)
            else:
                values[name] = value
        if missing:
            raise SecretError(
                f"the vault has no {', '.join(missing)} for {cluster.identifier}",
                remedy=f"`orbit secrets set {cluster.identifier} {missing[0]}`",
            )
        return values

    async def names(self, cluster: str) -> frozenset[str]:
        """The names that a cluster may refer to."""
        project, name = split(cluster)
        return frozenset(secret.name for secret in await self._vault.list(project, name))

    async def set_all(self, cluster: str, values: Mapping[str, str]) -> None:
        project, name = split(cluster)
        for secret, value in values.items():
            await self._vault.set(project, name, secret, value)

    async def set(self, cluster: str, secret: str, value: str) -> secrets_pb2.Secret:
        project, name = split(cluster)
        info = await self._vault.set(project, name, secret, value)
        return secrets_pb2.Secret(cluster=f"{project}/{name}", name=secret, updated_ms=info.updated_ms)

    async def list(self, clusters: Sequence[str]) -> list[secrets_pb2.Secret]:
        found: list[secrets_pb2.Secret] = []
        for cluster in clusters:
            project, name = split(cluster)
            found.extend(
                secrets_pb2.Secret(cluster=f"{project}/{name}", name=info.name, updated_ms=info.updated_ms)
                for info in await self._vault.list(project, name)
            )
        return found

    async def delete(self, cluster: str, secret: str) -> bool:
        project, name = split(cluster)
        return await self._vault.delete(project, name, secret)


def split(cluster: str) -> tuple[str, str]:
    """`<project>/<name>`, with or without `cluster/` before it."""
    project, slash, name = cluster.removeprefix("cluster/").partition("/")
    if not project or not slash or not name or "/" in name:
        violation = FieldViolation("cluster", "expected `<project>/<name>`")
        raise InvalidRequestError(f"{cluster!r} does not name a cluster", violations=[violation])
    return project, name
