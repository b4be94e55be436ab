"""AES-256-GCM, and the only place that uses a cipher.

    sealed = version (1 byte, 0x01) | nonce (12 bytes, random) | ciphertext | tag (16 bytes)

The label is authenticated with the text: what was sealed for one record opens for no other, so
swapping two ciphertexts in the store is noticed. The format is fixed: what it holds outlives
the code.
"""

import os
from queue import Empty, SimpleQueue

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from serve.errors import Code, ServeError

KEY_BYTES = 32
VERSION = b"\x01"
NONCE_BYTES = 12
NONCES_DRAWN = 256
TAG_BYTES = 16
OVERHEAD_BYTES = len(VERSION) + NONCE_BYTES + TAG_BYTES


class _Nonces:
    """Unpredictable nonces, drawn from the system by the hundred: each draw is a system call.

    None is handed out twice, not even in a child that was forked.
    """

    def __init__(self) -> None:
        self._pool = SimpleQueue[bytes]()
        os.register_at_fork(after_in_child=self._forget)

    def take(self) -> bytes:
        """12 bytes that nobody else gets."""
        while True:
            try:
                return self._pool.get_nowait()
            except Empty:
                drawn = os.urandom(NONCE_BYTES * NONCES_DRAWN)
                for start in range(0, len(drawn), NONCE_BYTES):
                    self._pool.put(drawn[start : start + NONCE_BYTES])

    def _forget(self) -> None:
        self._pool = SimpleQueue()


_nonces = _Nonces()


def new_key() -> bytes:
    """256 unpredictable bits."""
    return os.urandom(KEY_BYTES)


def seal(key: bytes, plain: bytes, label: str) -> bytes:
    """`plain` readable only with `key` (32 bytes) and under the same `label`."""
    nonce = _nonces.take()
    return VERSION + nonce + AESGCM(key).encrypt(nonce, plain, label.encode())


def unseal(key: bytes, sealed: bytes, label: str) -> bytes:
    """What was sealed. Raises `keys_mismatch` for another key, another label or changed bytes."""
    if len(sealed) < OVERHEAD_BYTES or not sealed.startswith(VERSION):
        raise ServeError(Code.KEYS_MISMATCH, "a record is not sealed in a known format")
    nonce = sealed[len(VERSION) : len(VERSION) + NONCE_BYTES]
    body = memoryview(sealed)[len(VERSION) + NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, body, label.encode())
    except InvalidTag as error:
        raise ServeError(Code.KEYS_MISMATCH, "a sealed record does not open") from error
