"""Requests that are no messages at all are refused as bad requests; gRPC's own way is UNKNOWN, and a traceback.

A stream's service meets ``BadRequest`` where it reads, and answers as to every bad request. A
call with one request is ended with INVALID_ARGUMENT before its service hears of it.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from springtide.errors import BadRequest


class Malformed(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None
        read = _reader(handler.request_deserializer, details.method)
        if handler.request_streaming:
            return handler._replace(request_deserializer=read)
        return _once(handler, read)


def _reader(deserialize: Callable[[bytes], Any], method: str) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError as error:
            raise BadRequest(f"{len(data):,} bytes for {method} are not a message of its kind: {error}") from None

    return read


def _once(handler: Any, read: Callable[[bytes], Any]) -> Any:
    """The error travels in the place of the request, to where there is a call to end."""

    def read_or_refuse(data: bytes) -> Any:
        try:
            return read(data)
        except BadRequest as refusal:
            return refusal

    name = "unary_stream" if handler.response_streaming else "unary_unary"
    serve = getattr(handler, name)
    serving = _generate(serve) if inspect.isasyncgenfunction(serve) else _serve(serve)
    return handler._replace(request_deserializer=read_or_refuse, **{name: serving})


def _serve(serve: Callable[[Any, Any], Any]) -> Any:
    async def serving(request: Any, context: Any) -> Any:
        if isinstance(request, BadRequest):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(request))
        return await serve(request, context)

    return serving


def _generate(serve: Callable[[Any, Any], Any]) -> Any:
    async def generating(request: Any, context: Any) -> AsyncIterator[Any]:
        if isinstance(request, BadRequest):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(request))
        async for answer in serve(request, context):
            yield answer

    return generating
