"""Asking nodes: one of them, or all at once, and why there is no answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self, cast

import grpc

from springtide.client import forks
from springtide.errors import OperatorError, SpringtideError, Unreachable
from springtide.wire.channels import Tls, blocking
from springtide.wire.v1 import admin_pb2, admin_pb2_grpc

ASK_SECONDS = 2.0


class Admin:
    """The administration services of some nodes, by address. Knows no more than it is told."""

    def __init__(self, addresses: Iterable[str], tls: Tls | None = None) -> None:
        self.addresses = tuple(dict.fromkeys(addresses))
        self._tls = tls
        self._channels: dict[str, grpc.Channel] = {}
        forks.register(self)

    def fork_begins(self, deadline: float) -> None:
        """As ``forks.Quieted`` has it. Channels are opened again when they are needed."""
        self.close()

    def fork_ended(self) -> None:
        pass

    def forked(self) -> None:
        self._channels = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            channel.close()

    def wait_for(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Ask ``condition`` again and again until it holds; ``Unreachable`` where that takes too long."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Unreachable(f"what was waited for did not come about within {seconds:.0f} s")
            time.sleep(0.02)

    def stub(self, address: str) -> Any:
        channel = self._channels.get(address)
        if channel is None:
            channel = blocking(address, self._tls)
            self._channels[address] = channel
        return admin_pb2_grpc.AdminStub(channel)

    def call(self, address: str, method: str, request: Any, seconds: float = ASK_SECONDS) -> Any:
        """One answer of one node; ``SpringtideError`` says in words why there is none."""
        try:
            return getattr(self.stub(address), method)(request, timeout=seconds)
        except grpc.RpcError as error:
            raise in_words(address, error) from None

    def call_all(
        self, method: str, request: Any, addresses: Sequence[str] | None = None, seconds: float = ASK_SECONDS
    ) -> dict[str, Any]:
        """The answers of all nodes, asked at the same time; an error in the place of an answer."""
        asked = {
            address: getattr(self.stub(address), method).future(request, timeout=seconds)
            for address in (self.addresses if addresses is None else addresses)
        }
        answers: dict[str, Any] = {}
        for address, answer in asked.items():
            try:
                answers[address] = answer.result()
            except grpc.RpcError as error:
                answers[address] = in_words(address, error)
        return answers

    def status(self, seconds: float = ASK_SECONDS) -> dict[str, admin_pb2.StatusAnswer | SpringtideError]:
        """By address, of the known nodes and of those that they name; each node once."""
        request = admin_pb2.StatusRequest()
        answers = self.call_all("Status", request, seconds=seconds)
        named = {
            node.address
            for answer in answers.values()
            if not isinstance(answer, SpringtideError)
            for node in answer.topology.nodes
            if node.address
        }
        others = sorted(named - set(self.addresses))
        if others:
            answers |= self.call_all("Status", request, others, seconds)
        return each_once(answers)


def each_once(answers: Mapping[str, Any]) -> dict[str, Any]:
    """``answers`` without the second addresses of nodes that answered already, and those that lead nowhere."""
    heard = {at: answer for at, answer in answers.items() if not isinstance(answer, SpringtideError)}
    uptimes = {answer.uptime: at for at, answer in reversed(heard.items())}
    named = {n.address: n.id for answer in heard.values() for n in answer.topology.nodes}
    there = {answer.node for answer in heard.values()}
    return {
        at: answer
        for at, answer in answers.items()
        if (not answer.uptime or uptimes[answer.uptime] == at if at in heard else named.get(at) not in there)
    }


def in_words(address: str, error: grpc.RpcError) -> SpringtideError:
    """What a call that failed says to an operator."""
    code, details = cast(grpc.Call, error).code(), cast(grpc.Call, error).details()
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        # gRPC tells the whole story of its attempts; its last words are the reason.
        reason = (details or code.name).rsplit(": ", 1)[-1]
        return Unreachable(f"{address} does not answer ({reason if '[' in reason else reason.rstrip(']')})")
    return OperatorError(details or f"{address} answers {code.name}")
