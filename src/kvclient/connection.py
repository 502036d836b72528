"""One blocking gRPC connection to one endpoint."""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NoReturn
from urllib.parse import urlsplit

from etcdwire import grpc
from etcdwire.errors import Code
from etcdwire.frames import ConnectionProtocolError
from etcdwire.http2_client import ClientSession, ClientStream
from kvclient.errors import RETRYABLE_CODES, KvClientError, RequestError, Unavailable

USER_AGENT = b"kvclient/0.1"
Metadata = tuple[tuple[bytes, bytes], ...]
"""Further headers of a call: the token of who is logged in."""
READ_BYTES = 256 << 10
PING_AFTER_S: Final = 6.0
"""Of silence on a stream that waits for ever. Servers of gRPC's own making (etcd) hang up on a client
that pings more often than every 5 s."""
PING_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class ClientTLS:
    """Files for TLS: whom to trust, and who we are."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False
    server_name: str = ""

    def context(self) -> ssl.SSLContext:
        """The context for dialling.

        Raises:
            KvClientError: a file is missing or damaged; names it.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for path in (self.ca_file, self.cert_file, self.key_file):
            if path and not os.access(path, os.R_OK):
                raise KvClientError(f"cannot read {path}: no such file, or no permission")
        try:
            self._fill(context)
        except (ssl.SSLError, OSError) as error:
            files = ", ".join(p for p in (self.ca_file, self.cert_file, self.key_file) if p)
            raise KvClientError(f"cannot use {files}: {error}") from None
        return context

    def _fill(self, context: ssl.SSLContext) -> None:
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.ca_file:
            context.load_verify_locations(self.ca_file)
        else:
            context.load_default_certs()
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file or None)
        context.set_alpn_protocols(["h2"])


def describe_tls_problem(error: ssl.SSLError) -> str:
    """One line that says what is wrong and what to do."""
    text = str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not trusted: {error.verify_message}: "
            "is --cacert its authority, and the address one of its names?"
        )
    if "CERTIFICATE_REQUIRED" in text or "certificate required" in text:
        return "the server demands a client certificate: give --cert and --key"
    if "WRONG_VERSION_NUMBER" in text:
        return "the server does not speak TLS here: use http://"
    if "BAD_CERTIFICATE" in text or "UNKNOWN_CA" in text or "unknown ca" in text:
        return "the server does not accept our client certificate"
    return f"TLS: {error.reason or text}"


def is_lasting_tls_problem(error: ssl.SSLError) -> bool:
    """Whether trying again is of no use: somebody has to change a file or an address."""
    text = str(error)
    return isinstance(error, ssl.SSLCertVerificationError) or any(
        sign in text.upper().replace(" ", "_")
        for sign in (
            "WRONG_VERSION_NUMBER",
            "CERTIFICATE_REQUIRED",
            "BAD_CERTIFICATE",
            "UNKNOWN_CA",
        )
    )


def describe_refusal(error: OSError) -> str:
    """Why there is no connection, and what to look at."""
    if isinstance(error, TimeoutError):
        return "no answer within the time limit: is the host up, and no firewall between?"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there: is the member running, and the port right?"
    if isinstance(error, socket.gaierror):
        return "the host's name is not known"
    return str(error)


def check_is_grpc(stream: ClientStream, endpoint: str) -> None:
    """Raises:
    Unavailable: this is the answer of some other server.
    """
    if not stream.headers.get(b"content-type", b"").startswith(b"application/grpc"):
        _refuse_foreign(stream, endpoint)


def _refuse_foreign(stream: ClientStream, endpoint: str) -> NoReturn:
    http = stream.headers.get(b":status", b"?").decode("latin-1")
    raise Unavailable(
        f"not the client port of a member (HTTP status {http}): clients use 2379, "
        "members 2380 among themselves",
        endpoint,
        is_lasting=http in ("404", "405", "415"),
    )


def check_status(stream: ClientStream, endpoint: str) -> None:
    """Look at how a call ended.

    Raises:
        RequestError: in an error.
        Unavailable: in one after which another endpoint may do better, or without a status.
    """
    if stream.reset_code is not None:
        raise Unavailable(
            f"stream reset by server (code {stream.reset_code})", endpoint, is_ambiguous=True
        )
    status = stream.headers.get(b"grpc-status")
    if status is None:
        _refuse_foreign(stream, endpoint)
    code = int(status)
    if code == 0:
        return
    text = grpc.decode_message_text(stream.headers.get(b"grpc-message", b""))
    if code in RETRYABLE_CODES or code == Code.DEADLINE_EXCEEDED:
        raise Unavailable(text, endpoint, is_ambiguous="no leader" not in text)
    raise RequestError(code, text, endpoint)


def request_headers(
    scheme: bytes, authority: bytes, path: bytes, metadata: Metadata
) -> tuple[tuple[bytes, bytes], ...]:
    """The head of a gRPC call."""
    return (
        (b":method", b"POST"),
        (b":scheme", scheme),
        (b":path", path),
        (b":authority", authority),
        (b"content-type", b"application/grpc"),
        (b"user-agent", USER_AGENT),
        (b"te", b"trailers"),
        *metadata,
    )


class Connection:
    """Calls to one endpoint, one after the other."""

    def __init__(
        self,
        endpoint: str,
        context: Callable[[], ssl.SSLContext],
        timeout_s: float,
        server_name: str = "",
    ) -> None:
        """Connect.

        Raises:
            Unavailable: nobody there, or TLS does not work out.
        """
        self.endpoint = endpoint
        parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
        self._scheme = parts.scheme.encode()
        host, port = parts.hostname or "localhost", parts.port or 2379
        self._authority = parts.netloc.encode()
        self._session = ClientSession()
        self._was_answered = False
        self._soon: deque[tuple[int, bytes]] = deque()
        """(stream, message) from other threads, sent by the one that waits for answers."""
        self._is_interrupted = False
        self._waker: tuple[socket.socket, socket.socket] | None = None
        tls = context() if parts.scheme == "https" else None  # its mistakes come first
        try:
            raw = socket.create_connection((host, port), timeout=timeout_s)
        except OSError as error:
            raise Unavailable(f"cannot connect: {describe_refusal(error)}", endpoint) from None
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket: socket.socket = raw
        if tls is not None:
            try:
                self._socket = tls.wrap_socket(raw, server_hostname=server_name or host)
            except ssl.SSLError as error:
                raw.close()
                raise Unavailable(
                    describe_tls_problem(error), endpoint, is_lasting=is_lasting_tls_problem(error)
                ) from None
            except OSError as error:
                raw.close()
                raise Unavailable(f"TLS handshake failed: {error}", endpoint) from None

    @property
    def is_usable(self) -> bool:
        """Whether new calls may be made."""
        return not self._session.is_going_away and self._socket.fileno() >= 0

    def close(self) -> None:
        """Close."""
        self._socket.close()
        waker, self._waker = self._waker, None
        for end in waker or ():
            end.close()

    def unary(self, path: bytes, body: bytes, timeout_s: float, metadata: Metadata = ()) -> bytes:
        """One call: the answer's message.

        Raises:
            RequestError: the server answered with an error.
            Unavailable: no answer in time, or the connection broke.
        """
        messages = list(self.stream(path, body, timeout_s, metadata))
        if not messages:
            raise Unavailable("empty answer", self.endpoint, is_ambiguous=True)
        return messages[0]

    def stream(
        self, path: bytes, body: bytes, timeout_s: float, metadata: Metadata = ()
    ) -> Iterator[bytes]:
        """A call with a streamed answer; ``timeout_s`` bounds each wait for more.

        Raises:
            RequestError, Unavailable: see ``unary``.
        """
        stream_id, stream = self.open(path, body, end=True, timeout_s=timeout_s, metadata=metadata)
        try:
            yield from self.messages(stream, timeout_s)
        finally:
            if stream.is_ended:
                self._session.streams.pop(stream_id, None)
            else:
                self._session.cancel(stream_id)
                self._flush_quietly()

    def open(
        self,
        path: bytes,
        body: bytes,
        *,
        end: bool,
        timeout_s: float,
        metadata: Metadata = (),
    ) -> tuple[int, ClientStream]:
        """Begin a call."""
        headers = request_headers(self._scheme, self._authority, path, metadata)
        if not end and self._waker is None:
            self._waker = socket.socketpair()
        stream_id = self._session.request(headers, grpc.frame(body), end=end)
        stream = self._session.streams[stream_id]
        self._socket.settimeout(timeout_s)
        self._flush()
        return stream_id, stream

    def send(self, stream_id: int, body: bytes) -> None:
        """Send one more message of an open call."""
        self._session.send(stream_id, grpc.frame(body))
        self._flush()

    def send_soon(self, stream_id: int, body: bytes) -> None:
        """Let the thread that waits for answers send one more message; from any thread."""
        self._soon.append((stream_id, body))
        self._wake()

    def interrupt(self) -> None:
        """End the wait for answers as if the connection had broken; from any thread."""
        self._is_interrupted = True
        self._wake()

    def _wake(self) -> None:
        waker = self._waker
        if waker is not None:
            try:
                waker[1].send(b"!")
            except OSError:
                return  # closed meanwhile: nobody waits

    def messages(
        self,
        stream: ClientStream,
        timeout_s: float | None,
        *,
        first_timeout_s: float | None = None,
    ) -> Iterator[bytes]:
        """Messages as they come, until the call ends; the first one may have a time limit of its own.

        A None time-out waits for as long as the server gives signs of life.

        Raises:
            RequestError, Unavailable: see ``unary``.
        """
        reader = grpc.MessageReader(1 << 31)
        wait_s = timeout_s if first_timeout_s is None else first_timeout_s
        while True:
            if stream.data:
                check_is_grpc(stream, self.endpoint)
                data = bytes(stream.data)
                stream.data.clear()
                for message in reader.feed(data):
                    wait_s = timeout_s
                    yield message
                continue
            if stream.is_ended:
                check_status(stream, self.endpoint)
                return
            self._receive(PING_AFTER_S if wait_s is None else wait_s, pings=wait_s is None)

    def _receive(self, timeout_s: float, *, pings: bool = False) -> None:
        """Take what comes next; with ``pings`` silence is a question first, not yet an end."""
        self._socket.settimeout(timeout_s)
        started = time.monotonic()
        try:
            if self._waker is not None:
                self._wait(self._waker[0], timeout_s)
            data = self._socket.recv(READ_BYTES)
        except TimeoutError:
            if pings:
                self._session.ping()
                self._socket.settimeout(PING_TIMEOUT_S)
                self._flush()
                self._receive(PING_TIMEOUT_S)
                return
            self.close()
            waited = time.monotonic() - started
            raise Unavailable(
                f"no answer within {waited:.1f} s", self.endpoint, is_ambiguous=True
            ) from None
        except OSError as error:
            raise self._lost(error) from None
        if not data:
            self.close()
            raise Unavailable(self._describe_end(), self.endpoint, is_ambiguous=True)
        self._was_answered = True
        try:
            self._session.receive(data)
        except ConnectionProtocolError as error:
            self.close()
            raise Unavailable(
                f"not a gRPC server: {error.reason}", self.endpoint, is_ambiguous=True
            ) from None
        self._flush()

    def _wait(self, woken: socket.socket, timeout_s: float) -> None:
        """Until there is something to read; sends what other threads want sent meanwhile.

        Raises:
            TimeoutError: nothing came.
            Unavailable: interrupted.
        """
        deadline = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while True:
            if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
                return
            left_ms = max(int((deadline - time.monotonic()) * 1000) + 1, 0)
            ready = {descriptor for descriptor, _ in poll.poll(left_ms)}
            if not ready:
                raise TimeoutError
            if woken.fileno() in ready:
                woken.recv(4096)
                if self._is_interrupted:
                    self.close()
                    raise Unavailable("closed", self.endpoint, is_ambiguous=True)
                while self._soon:
                    stream_id, body = self._soon.popleft()
                    if stream_id in self._session.streams:
                        self.send(stream_id, body)
            if self._socket.fileno() in ready:
                return

    def _flush(self) -> None:
        output = self._session.take_output()
        if not output:
            return
        try:
            self._socket.sendall(output)
        except OSError as error:
            raise self._lost(error) from None

    def _lost(self, error: OSError) -> Unavailable:
        """The connection broke under a call: what was sent may have been carried out."""
        self.close()
        text = f"connection lost: {error}"
        is_lasting = False
        if isinstance(error, ssl.SSLError):
            text = describe_tls_problem(error)
            is_lasting = is_lasting_tls_problem(error)
        return Unavailable(text, self.endpoint, is_ambiguous=True, is_lasting=is_lasting)

    def _describe_end(self) -> str:
        """Servers that refuse a client's certificate, or want TLS, often just hang up."""
        if self._was_answered:
            return "connection closed by server"
        if self._scheme == b"https":
            return (
                "the server hung up after the TLS handshake: it demands a client certificate, "
                "or does not accept this one (--cert, --key)"
            )
        return "the server hung up without an answer: does it speak TLS? Use https://"

    def _flush_quietly(self) -> None:
        try:
            self._flush()
        except Unavailable:
            self.close()
