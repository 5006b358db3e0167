"""Between the store's own types and etcd's messages. Pure: no I/O, no errors of the transport."""

from __future__ import annotations

from collections.abc import Sequence

from orbit_core.pb.etcd import kv_pb2, rpc_pb2
from orbit_core.store.api import (
    Alarm,
    Compare,
    Delete,
    DeleteResult,
    Get,
    KeyValue,
    Op,
    OpResult,
    Put,
    PutResult,
    RangeResult,
    TxnResult,
    WatchEvent,
)

_SIGNS = {
    "==": rpc_pb2.Compare.EQUAL,
    "!=": rpc_pb2.Compare.NOT_EQUAL,
    "<": rpc_pb2.Compare.LESS,
    ">": rpc_pb2.Compare.GREATER,
}


def key_value(message: kv_pb2.KeyValue) -> KeyValue:
    return KeyValue(
        key=message.key,
        value=message.value,
        create_revision=message.create_revision,
        mod_revision=message.mod_revision,
        version=message.version,
        lease=message.lease,
    )


def range_result(message: rpc_pb2.RangeResponse, revision: int) -> RangeResult:
    return RangeResult(tuple(key_value(kv) for kv in message.kvs), revision, message.more, message.count)


def txn_request(compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op]) -> rpc_pb2.TxnRequest:
    return rpc_pb2.TxnRequest(
        compare=[_compare(one) for one in compare],
        success=[_op(one) for one in success],
        failure=[_op(one) for one in failure],
    )


def txn_result(message: rpc_pb2.TxnResponse) -> TxnResult:
    revision = message.header.revision
    return TxnResult(
        message.succeeded, revision, tuple(_op_result(response, revision) for response in message.responses)
    )


def watch_event(message: kv_pb2.Event) -> WatchEvent:
    return WatchEvent("put" if message.type == kv_pb2.Event.PUT else "delete", key_value(message.kv))


def alarm(message: rpc_pb2.AlarmMember) -> Alarm:
    return Alarm(message.memberID, "nospace" if message.alarm == rpc_pb2.NOSPACE else "corrupt")


def alarm_kind(one: Alarm) -> rpc_pb2.AlarmType:
    return rpc_pb2.NOSPACE if one.kind == "nospace" else rpc_pb2.CORRUPT


def _compare(one: Compare) -> rpc_pb2.Compare:
    message = rpc_pb2.Compare(key=one.key, result=_SIGNS[one.sign])
    if isinstance(one.operand, bytes):
        message.target = rpc_pb2.Compare.VALUE
        message.value = one.operand
    elif one.target == "version":
        message.target = rpc_pb2.Compare.VERSION
        message.version = one.operand
    elif one.target == "create":
        message.target = rpc_pb2.Compare.CREATE
        message.create_revision = one.operand
    elif one.target == "mod":
        message.target = rpc_pb2.Compare.MOD
        message.mod_revision = one.operand
    else:
        message.target = rpc_pb2.Compare.LEASE
        message.lease = one.operand
    return message


def _op(one: Op) -> rpc_pb2.RequestOp:
    match one:
        case Get(key, end, limit, keys_only):
            request = rpc_pb2.RangeRequest(key=key, range_end=end, limit=limit, keys_only=keys_only)
            return rpc_pb2.RequestOp(request_range=request)
        case Put(key, value, lease):
            return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value, lease=lease))
        case Delete(key, end):
            return rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key, range_end=end))


def _op_result(message: rpc_pb2.ResponseOp, revision: int) -> OpResult:
    match message.WhichOneof("response"):
        case "response_range":
            return range_result(message.response_range, revision)
        case "response_delete_range":
            return DeleteResult(revision, message.response_delete_range.deleted)
        case _:
            return PutResult(revision)
