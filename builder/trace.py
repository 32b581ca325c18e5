"""BuildKit's progress messages: the bytes of one StatusResponse to plain values.

The message is described here in a table of field numbers, so that no generated code is needed. Only
the parts that are shown are described; the rest of the message is skipped by the decoder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from runtime.errors import EngineError

PACKAGE: Final = "moby.buildkit.v1"

# message -> field -> (number, type, repeated); a type that is not a scalar names another message
FIELDS: Final[dict[str, dict[str, tuple[int, str, bool]]]] = {
    "Timestamp": {"seconds": (1, "int64", False), "nanos": (2, "int32", False)},
    "Vertex": {
        "digest": (1, "string", False),
        "name": (3, "string", False),
        "cached": (4, "bool", False),
        "started": (5, "Timestamp", False),
        "completed": (6, "Timestamp", False),
        "error": (7, "string", False),
    },
    "VertexLog": {"vertex": (1, "string", False), "stream": (3, "int64", False), "msg": (4, "bytes", False)},
    "VertexWarning": {"vertex": (1, "string", False), "short": (3, "bytes", False)},
    "StatusResponse": {
        "vertexes": (1, "Vertex", True),
        "logs": (3, "VertexLog", True),
        "warnings": (4, "VertexWarning", True),
    },
}


@dataclass(frozen=True, slots=True)
class Vertex:
    """What the engine says about one node of the build at one moment; times are seconds since the epoch."""

    digest: str
    name: str
    cached: bool = False
    started: float | None = None
    completed: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of what a step wrote, cut anywhere."""

    vertex: str
    stream: int  # 1 standard output, 2 standard error
    data: bytes


@dataclass(frozen=True, slots=True)
class Trace:
    """One progress message."""

    vertices: tuple[Vertex, ...] = ()
    outputs: tuple[Output, ...] = ()
    warnings: tuple[str, ...] = ()


def decode_trace(payload: bytes) -> Trace:
    """The values in one StatusResponse. Raises EngineError when the bytes are not one."""
    message: Any = _status_response()()
    try:
        message.ParseFromString(payload)
    except DecodeError:
        raise EngineError("the engine's build progress is not understood: use Docker 20.10 or newer") from None
    return Trace(
        vertices=tuple(_vertex(vertex) for vertex in message.vertexes),
        outputs=tuple(Output(log.vertex, log.stream, log.msg) for log in message.logs),
        warnings=tuple(warning.short.decode(errors="replace") for warning in message.warnings),
    )


def encode_trace(trace: Trace) -> bytes:
    """The inverse of `decode_trace`, for tests."""
    message: Any = _status_response()()
    for vertex in trace.vertices:
        made = message.vertexes.add(digest=vertex.digest, name=vertex.name, cached=vertex.cached, error=vertex.error)
        for name in ("started", "completed"):
            moment: float | None = getattr(vertex, name)
            if moment is not None:
                getattr(made, name).seconds = int(moment)
                getattr(made, name).nanos = round(moment % 1 * 1e9)
    for output in trace.outputs:
        message.logs.add(vertex=output.vertex, stream=output.stream, msg=output.data)
    for warning in trace.warnings:
        message.warnings.add(short=warning.encode())
    return bytes(message.SerializeToString())


def _vertex(message: Any) -> Vertex:
    return Vertex(
        digest=message.digest,
        name=message.name,
        cached=message.cached,
        started=_moment(message, "started"),
        completed=_moment(message, "completed"),
        error=message.error,
    )


def _moment(message: Any, field: str) -> float | None:
    if not message.HasField(field):
        return None
    timestamp = getattr(message, field)
    return float(timestamp.seconds + timestamp.nanos / 1e9)


@cache
def _status_response() -> type[Message]:
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="buildkit_status.proto", package=PACKAGE, syntax="proto3")
    file.message_type.extend(_messages())
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.StatusResponse"))


def _messages() -> Iterable[descriptor_pb2.DescriptorProto]:
    for name, fields in FIELDS.items():
        yield descriptor_pb2.DescriptorProto(name=name, field=[_field(key, *row) for key, row in fields.items()])


def _field(name: str, number: int, kind: str, repeated: bool) -> descriptor_pb2.FieldDescriptorProto:
    types = descriptor_pb2.FieldDescriptorProto
    field = types(name=name, number=number, label=types.LABEL_REPEATED if repeated else types.LABEL_OPTIONAL)
    if kind in FIELDS:
        field.type = types.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"
    else:
        field.type = types.Type.Value(f"TYPE_{kind.upper()}")
    return field
