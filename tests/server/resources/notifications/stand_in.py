"""A stand-in for Apple's push service, over HTTP/2 and TLS on loopback: checks what it gets, and answers as it is told.

Like Apple it allows one notification at a time on a new connection, and many once it has seen a good signature.
"""

import base64
import contextlib
import json
import re
import socket
import ssl
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from mushu.secret import Secret
from mushu.server.clock import Clock
from mushu.server.resources.apple_credentials import ApnsCredentials
from tests.cli.certificates import certificates

_HOUR: Final = 3_600
_CHUNK: Final = 16_000


@dataclass(frozen=True)
class Reply:
    """An answer; 200 without a body is Apple's success."""

    status: int = 200
    reason: str | None = None
    #: Milliseconds, as in Apple's 410.
    timestamp: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Instead of what Apple would write.
    body: bytes | None = None

    @property
    def content(self) -> bytes:
        if self.body is not None or self.reason is None:
            return self.body or b""
        said = {"reason": self.reason} | ({} if self.timestamp is None else {"timestamp": self.timestamp})
        return json.dumps(said).encode()


@dataclass(frozen=True)
class Cut:
    """The connection ends without an answer."""


@dataclass(frozen=True)
class Silence:
    """There is no answer, and the connection stays."""


@dataclass(frozen=True)
class GoAway:
    """The connection is closed as Apple closes one: with the last stream that it looked at."""

    looked_at: bool


@dataclass(frozen=True)
class Noise:
    """What comes is no HTTP/2."""


Behaviour = Reply | Cut | Silence | GoAway | Noise
SUCCESS: Final = Reply()


@dataclass(frozen=True)
class Received:
    """One notification as it arrived."""

    connection: int
    token: str
    headers: Mapping[str, str]
    body: bytes
    #: The claims of the provider token, and its head.
    claims: Mapping[str, Any]

    @property
    def payload(self) -> Any:
        return json.loads(self.body)


class StandIn:
    """Listens from the moment it is made; `close` ends it.

    Args:
        remembers: whether it keeps what it gets, and not only counts.
        encrypted: whether it speaks TLS.

    Attributes:
        problems: what was wrong with requests, in words; Apple would have refused them.
    """

    def __init__(self, clock: Clock, *, remembers: bool = True, encrypted: bool = True) -> None:
        self._clock = clock
        self._encrypted = encrypted
        self._remembers = remembers
        self._lock = threading.Lock()
        self._behaviours: dict[str, list[Behaviour]] = defaultdict(list)
        self._public_keys: dict[tuple[str, str], ec.EllipticCurvePublicKey] = {}
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.received: list[Received] = []
        self.count = 0
        self.connections = 0
        self.problems: list[str] = []
        #: Called with each token as it arrives.
        self.on_arrival: Callable[[str], object] = lambda _: None
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificates() / "own.pem", certificates() / "key.pem")
        tls.set_alpn_protocols(["h2"])
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._begin(self._accept)

    @property
    def url(self) -> str:
        return f"http{'s' if self._encrypted else ''}://127.0.0.1:{self._listener.getsockname()[1]}"

    def credentials(self, team_id: str = "TEAM123456", key_id: str = "KEY1234567") -> ApnsCredentials:
        """Return new credentials, which this stand-in knows from now on."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._public_keys[team_id, key_id] = key.public_key()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return ApnsCredentials(team_id, key_id, Secret(pem.decode()))

    def will(self, token: str, *behaviours: Behaviour) -> None:
        """Answer so to the next notifications to `token`; after them, with success."""
        self._behaviours[token].extend(behaviours)

    def to(self, token: str) -> list[Received]:
        return [one for one in self.received if one.token == token]

    def close(self) -> None:
        with self._lock:
            sockets, self._sockets = [self._listener, *self._sockets], []
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _begin(self, act: Callable[[], None]) -> None:
        thread = threading.Thread(target=act, name="stand-in", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                self.connections += 1
                number = self.connections
                self._begin(lambda plain=plain, number=number: self._serve(plain, number))  # type: ignore[misc]

    def _serve(self, plain: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            connected = self._tls.wrap_socket(plain, server_side=True) if self._encrypted else plain
            with self._lock:
                self._sockets.append(connected)
            with connected, contextlib.suppress(ProtocolError):
                _Connection(self, connected, number).serve()

    def behaviour_for(self, number: int, headers: dict[str, str], body: bytes) -> Behaviour:
        """Check what arrived, and say what to do about it."""
        found = re.fullmatch(r"/3/device/([0-9A-Za-z_-]+)", headers[":path"])
        token = found[1] if found else ""
        self.on_arrival(token)
        claims, refusal = self._read_provider_token(headers.get("authorization", ""))
        with self._lock:
            self.count += 1
            if self._remembers:
                self.received.append(Received(number, token, headers, body, claims))
            self.problems.extend(_problems(headers, token, body))
            if self._behaviours[token]:
                return self._behaviours[token].pop(0)
        return refusal or SUCCESS

    def _read_provider_token(self, authorization: str) -> tuple[dict[str, Any], Reply | None]:
        """Return what the token says, and how Apple would refuse it."""
        try:
            scheme, token = authorization.split(" ")
            text, _, signature = token.rpartition(".")
            head, claims = (json.loads(_decoded(part)) for part in text.split("."))
            raw = _decoded(signature)
            numbers = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
            public_key = self._public_keys[claims["iss"], head["kid"]]
            public_key.verify(numbers, text.encode(), ec.ECDSA(hashes.SHA256()))
        except (ValueError, KeyError, InvalidSignature):
            return {}, Reply(403, "InvalidProviderToken")
        if scheme != "bearer" or head["alg"] != "ES256" or set(claims) != {"iss", "iat"} or len(raw) != 64:
            return claims, Reply(403, "InvalidProviderToken")
        if not 0 <= self._clock().timestamp() - claims["iat"] < _HOUR:
            return claims, Reply(403, "ExpiredProviderToken")
        return head | claims, None


class _Connection:
    def __init__(self, owner: StandIn, connected: socket.socket, number: int) -> None:
        self._owner = owner
        self._socket = connected
        self._number = number
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._requests: dict[int, tuple[dict[str, str], bytearray]] = {}
        self._trusted = False

    def serve(self) -> None:
        only_one = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
        self._h2.local_settings = Settings(client=False, initial_values=only_one)
        self._h2.initiate_connection()
        self._flush()
        while data := self._socket.recv(65_536):
            for event in self._h2.receive_data(data):
                if not self._handle(event):
                    return
            self._flush()

    def _handle(self, event: Event) -> bool:
        """Return False when it is over."""
        match event:
            case RequestReceived():
                headers = {str(name): str(value) for name, value in event.headers or ()}
                self._requests[event.stream_id or 0] = headers, bytearray()
            case DataReceived():
                self._requests[event.stream_id or 0][1].extend(event.data or b"")
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            case StreamReset():
                self._requests.pop(event.stream_id or 0, None)
            case StreamEnded():
                headers, body = self._requests.pop(event.stream_id or 0)
                behaviour = self._owner.behaviour_for(self._number, headers, bytes(body))
                return self._behave(event.stream_id or 0, behaviour)
            case ConnectionTerminated():
                return False
        return True

    def _behave(self, stream: int, behaviour: Behaviour) -> bool:
        match behaviour:
            case Reply():
                self._answer(stream, behaviour)
            case GoAway():
                self._flush()
                last = stream if behaviour.looked_at else stream - 2
                self._h2.close_connection(last_stream_id=last, additional_data=b'{"reason":"Shutdown"}')
                self._flush()
                return False
            case Cut():
                self._flush()
                return False
            case Noise():
                self._flush()
                self._socket.sendall(b"HTTP/1.1 200 OK\r\n\r\n" * 20)
                return False
        return True

    def _answer(self, stream: int, reply: Reply) -> None:
        if not self._trusted and reply.status != 403:
            self._trusted = True
            self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1_000})
        content = reply.content
        headers = [(":status", str(reply.status)), *reply.headers.items()]
        self._h2.send_headers(stream, headers, end_stream=not content)
        for start in range(0, len(content), _CHUNK):
            self._h2.send_data(stream, content[start : start + _CHUNK], end_stream=start + _CHUNK >= len(content))
            self._flush()

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())


def _problems(headers: Mapping[str, str], token: str, body: bytes) -> Iterator[str]:
    """Say what Apple would not take."""
    if headers[":method"] != "POST" or not token:
        yield f"{headers[':method']} of no device"
    if not re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", headers.get("apns-topic", "")):
        yield "no topic"
    try:
        if str(uuid.UUID(headers["apns-id"])) != headers["apns-id"]:
            yield "an id that is not written as usual"
        payload = json.loads(body)
    except (KeyError, ValueError):
        yield "no id, or no payload"
        return
    visible = bool({"alert", "badge", "sound"} & set(payload.get("aps", {})))
    wanted = ("alert", "10") if visible else ("background", "5")
    if (headers.get("apns-push-type"), headers.get("apns-priority")) != wanted:
        yield f"not {wanted}"
    if not visible and payload.get("aps", {}).get("content-available") != 1:
        yield "a background notification that wakes nobody"
    if len(body) > 4_096 or not headers.get("apns-expiration", "").isdigit():
        yield "too large, or no expiration"


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
