# SPDX-License-Identifier: MIT
"""Writes GGUF v3: key-value metadata, tensor table, then tensor data one by one.

Tensors are announced first and their bytes streamed afterwards, so a file of any
size needs memory for one tensor only.
"""
import struct

import numpy as np

ALIGN = 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9

# name: (GGUF type number, elements per block, bytes per block)
TYPES = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2),
    "Q4_0": (2, 32, 18), "Q8_0": (8, 32, 34),
    "Q4_K": (12, 256, 144), "Q6_K": (14, 256, 210),
}


def n_bytes(kind, count):
    _, per, size = TYPES[kind]
    return count // per * size


def _string(s):
    data = s.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _scalar(kind, v):
    if kind == STRING:
        return _string(v)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], v)


class Writer:
    def __init__(self, path):
        self.f = open(path, "wb")
        self.meta, self.tensors, self.offset = [], [], 0

    def add(self, key, kind, value):
        self.meta.append(_string(key) + struct.pack("<I", kind) + _scalar(kind, value))

    def add_array(self, key, kind, values):
        self.meta.append(_string(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) +
                         b"".join(_scalar(kind, v) for v in values))

    def announce(self, name, shape, kind):
        """shape as numpy has it, slowest first; GGUF stores it fastest first."""
        number, per, _ = TYPES[kind]
        if shape[-1] % per:
            raise ValueError("%s: rows of %d do not divide into %s blocks of %d" %
                             (name, shape[-1], kind, per))
        self.tensors.append(_string(name) + struct.pack("<I", len(shape)) +
                            b"".join(struct.pack("<Q", d) for d in reversed(shape)) +
                            struct.pack("<IQ", number, self.offset))
        size = n_bytes(kind, int(np.prod(shape)))
        self.offset += -(-size // ALIGN) * ALIGN

    def begin_data(self):
        self.f.write(b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.meta)))
        for part in self.meta + self.tensors:
            self.f.write(part)
        self._pad()

    def _pad(self):
        self.f.write(bytes(-self.f.tell() % ALIGN))

    def write(self, data):
        """One tensor's bytes, in the order announced."""
        self.f.write(data)
        self._pad()

    def close(self):
        self.f.close()


def q8_0(x):
    """Blocks of 32: an F16 scale of amax / 127 and 32 signed bytes."""
    x = np.asarray(x, np.float32).reshape(-1, 32)
    d = np.abs(x).max(1) / np.float32(127)
    inv = np.divide(1, d, out=np.zeros_like(d), where=d > 0)
    out = np.zeros(len(x), np.dtype([("d", "<f2"), ("q", "i1", 32)]))
    out["d"] = d
    out["q"] = np.rint(x * inv[:, None]).astype(np.int8)
    return out.tobytes()


def q4_0(x):
    """Blocks of 32: an F16 scale, the value of largest size / -8, and 32 nibbles."""
    x = np.asarray(x, np.float32).reshape(-1, 32)
    top = x[np.arange(len(x)), np.abs(x).argmax(1)]
    d = top / np.float32(-8)
    inv = np.divide(1, d, out=np.zeros_like(d), where=d != 0)
    q = np.clip(np.floor(x * inv[:, None] + np.float32(8.5)), 0, 15).astype(np.uint8)
    out = np.zeros(len(x), np.dtype([("d", "<f2"), ("q", "u1", 16)]))
    out["d"] = d
    out["q"] = q[:, :16] | q[:, 16:] << 4
    return out.tobytes()


def encode(x, kind):
    if kind == "F32":
        return np.asarray(x, "<f4").tobytes()
    if kind == "F16":
        return np.asarray(x, "<f2").tobytes()
    if kind == "BF16":
        u = np.asarray(x, "<f4").view("<u4").astype(np.uint64)
        return ((u + 0x7fff + (u >> 16 & 1)) >> 16).astype("<u2").tobytes()
    if kind == "Q8_0":
        return q8_0(x)
    if kind == "Q4_0":
        return q4_0(x)
    raise ValueError("no encoder for " + kind)
