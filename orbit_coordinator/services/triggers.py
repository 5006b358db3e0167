"""TriggerService: webhooks, checked against the secrets of the clusters that wait for them."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
from typing import Any, Final

import grpc

from orbit_coordinator.services.access import Access
from orbit_coordinator.specs import Spec
from orbit_coordinator.term import Term
from orbit_core.client.errors import from_rpc_error
from orbit_core.errors import (
    LimitError,
    NotFoundError,
    NotLeaderError,
    PermissionError_,
    PreconditionError,
    SecretError,
)
from orbit_core.limits import WEBHOOK_MAX_BYTES
from orbit_core.pb.orbit.v1 import triggers_pb2, triggers_pb2_grpc
from orbit_core.spec.models import WebhookTrigger

log = logging.getLogger(__name__)

_LEADER_S: Final = 10.0


class TriggerService(triggers_pb2_grpc.TriggerServiceServicer):
    """What comes in from outside."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def ReceiveWebhook(
        self, request: triggers_pb2.ReceiveWebhookRequest, context: Any
    ) -> triggers_pb2.ReceiveWebhookResponse:
        return await receive(self._access, request)


async def deliver(access: Access, request: triggers_pb2.ReceiveWebhookRequest) -> triggers_pb2.ReceiveWebhookResponse:
    """Has the leader receive it, here or elsewhere. NotLeaderError while nobody leads; else what `receive` raises."""
    try:
        return await receive(access, request)
    except NotLeaderError as error:
        if error.leader is None:
            raise
        leader = error.leader
    async with grpc.aio.insecure_channel(leader, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            return await triggers_pb2_grpc.TriggerServiceStub(channel).ReceiveWebhook(request, timeout=_LEADER_S)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None


async def receive(access: Access, request: triggers_pb2.ReceiveWebhookRequest) -> triggers_pb2.ReceiveWebhookResponse:
    """Starts a run of each cluster that waits at this path and whose secret has signed the body.

    NotFoundError where none waits, PermissionError_ where none is convinced, PreconditionError where all that wait
    are disabled. Durable when it returns.
    """
    term = access.leading()
    if len(request.body) > WEBHOOK_MAX_BYTES:
        raise LimitError(f"the body has {len(request.body)} bytes; at most {WEBHOOK_MAX_BYTES} are taken")
    waiting = await _waiting(access, term, request.path)
    if not waiting:
        raise NotFoundError(f"nothing waits for a webhook at {request.path}")
    signed = [(spec, trigger) for spec, trigger, _ in waiting if await _is_signed(access, spec, trigger, request)]
    if not signed:
        raise PermissionError_(
            "the body is not signed with the secret of this webhook",
            remedy="send X-Orbit-Signature: sha256=<HMAC-SHA256 of the body, in hexadecimal>",
        )
    enabled = {spec.cluster.identifier for spec, _, enabled in waiting if enabled}
    starting = [(spec, trigger) for spec, trigger in signed if spec.cluster.identifier in enabled]
    if not starting:
        raise PreconditionError(
            f"{signed[0][0].cluster.identifier} is disabled",
            remedy=f"`orbit enable {signed[0][0].cluster.identifier}` lets it run again",
        )
    payload = _payload(request.body)
    key = f"{request.path}@{request.delivery_id or os.urandom(12).hex()}"
    run_ids = [(await term.starter.start(spec, "webhook", key, payload))[0] for spec, _ in starting]
    return triggers_pb2.ReceiveWebhookResponse(run_ids=run_ids)


async def _waiting(access: Access, term: Term, path: str) -> list[tuple[Spec, WebhookTrigger, bool]]:
    """The clusters that wait at this path, and whether each is enabled."""
    found: list[tuple[Spec, WebhookTrigger, bool]] = []
    for entry in list(term.state.clusters.values()):
        spec = await access.resources.specs.get(entry.spec_hash)
        for trigger in spec.cluster.triggers:
            if isinstance(trigger, WebhookTrigger) and trigger.path == path:
                found.append((spec, trigger, entry.enabled))
                break
    return found


async def _is_signed(
    access: Access, spec: Spec, trigger: WebhookTrigger, request: triggers_pb2.ReceiveWebhookRequest
) -> bool:
    if trigger.secret is None:
        return True
    try:
        values = await access.resources.secrets.of(spec.cluster, [trigger.secret])
    except SecretError as error:  # a matter between the cluster and its vault: nothing for whoever posts
        log.warning("a webhook of %s cannot be checked: %s", spec.cluster.identifier, error)
        return False
    expected = hmac.new(values[trigger.secret].encode(), request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), request.signature.removeprefix("sha256=").lower().encode())


def _payload(body: bytes) -> dict[str, Any]:
    """A JSON object as it is; anything else under `body`, as JSON or else as text."""
    try:
        found = json.loads(body) if body else {}
    except ValueError:
        found = body.decode(errors="replace")
    return found if isinstance(found, dict) else {"body": found}
