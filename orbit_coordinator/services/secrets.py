"""SecretService: values go into the vault and never come out of it here."""

from __future__ import annotations

from typing import Any

from orbit_coordinator.services.access import Access
from orbit_core.pb.orbit.v1 import secrets_pb2, secrets_pb2_grpc


class SecretService(secrets_pb2_grpc.SecretServiceServicer):
    """Sets, lists, deletes, rotates."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def SetSecret(self, request: secrets_pb2.SetSecretRequest, context: Any) -> secrets_pb2.SetSecretResponse:
        self._access.leading()
        secret = await self._access.resources.secrets.set(request.cluster, request.name, request.value)
        return secrets_pb2.SetSecretResponse(secret=secret)

    async def ListSecrets(
        self, request: secrets_pb2.ListSecretsRequest, context: Any
    ) -> secrets_pb2.ListSecretsResponse:
        self._access.leading()
        found = await self._access.resources.secrets.list(request.cluster)
        return secrets_pb2.ListSecretsResponse(secrets=found)

    async def DeleteSecret(
        self, request: secrets_pb2.DeleteSecretRequest, context: Any
    ) -> secrets_pb2.DeleteSecretResponse:
        self._access.leading()
        deleted = await self._access.resources.secrets.delete(request.cluster, request.name)
        return secrets_pb2.DeleteSecretResponse(deleted=deleted)

    async def RotateKey(self, request: secrets_pb2.RotateKeyRequest, context: Any) -> secrets_pb2.RotateKeyResponse:
        self._access.leading()
        return secrets_pb2.RotateKeyResponse(key_id=await self._access.resources.secrets.rotate(request.project))
