# SPDX-License-Identifier: MIT
"""Reads GGUF v2 and v3 files and widens their tensors to double precision.

Plain on purpose: this is what the library's loader is compared with, so it
shares no code with it.
"""
import math
import mmap
import struct

import numpy as np

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
           10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9

# GGUF type number: (name, elements per block, bytes per block)
TYPES = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 8: ("Q8_0", 32, 34),
         12: ("Q4_K", 256, 144), 14: ("Q6_K", 256, 210), 30: ("BF16", 1, 2)}


class Gguf:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        self.at = 4
        if self.data[:4] != b"GGUF":
            raise ValueError("%s: no GGUF file" % path)
        version = self._scalar(4)
        if version not in (2, 3):
            raise ValueError("%s: GGUF version %d, want 2 or 3" % (path, version))
        n_tensors, n_meta = self._scalar(10), self._scalar(10)
        self.meta = {}
        for _ in range(n_meta):
            key = self._string()
            self.meta[key] = self._value(self._scalar(4))
        self.tensors = {}           # name: (shape slowest first, type number, offset)
        for _ in range(n_tensors):
            name = self._string()
            dims = [self._scalar(10) for _ in range(self._scalar(4))]
            kind, offset = self._scalar(4), self._scalar(10)
            self.tensors[name] = (tuple(reversed(dims)), kind, offset)
        align = self.meta.get("general.alignment", 32)
        self.base = -(-self.at // align) * align

    def _scalar(self, kind):
        fmt = SCALARS[kind]
        v, = struct.unpack_from(fmt, self.data, self.at)
        self.at += struct.calcsize(fmt)
        return v

    def _string(self):
        n = self._scalar(10)
        s = self.data[self.at:self.at + n].decode("utf-8", "surrogateescape")
        self.at += n
        return s

    def _value(self, kind):
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            of, n = self._scalar(4), self._scalar(10)
            return [self._value(of) for _ in range(n)]
        return self._scalar(kind)

    def type_of(self, name):
        return TYPES[self.tensors[name][1]][0]

    def raw(self, name):
        shape, kind, offset = self.tensors[name]
        if kind not in TYPES:
            raise ValueError("%s: tensor type %d is not supported here" % (name, kind))
        _, per, size = TYPES[kind]
        n = math.prod(shape) // per * size
        return np.frombuffer(self.data, np.uint8, n, self.base + offset)

    def tensor(self, name):
        """The tensor as float64, in numpy's shape (rows first)."""
        shape = self.tensors[name][0]
        return WIDEN[self.type_of(name)](self.raw(name)).reshape(shape)


def f16(b):
    """bytes (..., 2 n) -> float64 (..., n)"""
    return np.ascontiguousarray(b).view("<f2").astype(np.float64)


def widen_bf16(b):
    return (b.view("<u2").astype(np.uint32) << 16).view("<f4").astype(np.float64)


def widen_q4_0(b):
    b = b.reshape(-1, 18)                       # d (F16), 16 bytes of nibbles
    d, q = f16(b[:, :2]), b[:, 2:]
    q = np.concatenate([q & 15, q >> 4], 1)     # low nibbles are elements 0..15
    return d * (q.astype(np.float64) - 8)


def widen_q8_0(b):
    b = b.reshape(-1, 34)                       # d (F16), 32 signed bytes
    return f16(b[:, :2]) * b[:, 2:].view(np.int8).astype(np.float64)


def widen_q4_k(b):
    b = b.reshape(-1, 144)                      # d, dmin (F16), 12 bytes of scales, 128 of nibbles
    d, dmin, s, q = f16(b[:, 0:2]), f16(b[:, 2:4]), b[:, 4:16], b[:, 16:]
    # Eight 6-bit scales and eight 6-bit minima; the upper four are in pieces.
    scale = np.concatenate([s[:, 0:4] & 63, s[:, 8:12] & 15 | s[:, 0:4] >> 6 << 4], 1)
    least = np.concatenate([s[:, 4:8] & 63, s[:, 8:12] >> 4 | s[:, 4:8] >> 6 << 4], 1)
    q = q.reshape(-1, 4, 1, 32)                 # 32 bytes hold two sub-blocks of 32
    q = np.concatenate([q & 15, q >> 4], 2).reshape(-1, 8, 32).astype(np.float64)
    return (d * scale)[:, :, None] * q - (dmin * least)[:, :, None]


def widen_q6_k(b):
    b = b.reshape(-1, 210)                      # 128 low nibbles, 64 high bits, 16 scales, d
    low = b[:, :128].reshape(-1, 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], 2).reshape(-1, 2, 4, 32)
    high = b[:, 128:192].reshape(-1, 2, 1, 32)
    high = np.concatenate([high >> 0 & 3, high >> 2 & 3, high >> 4 & 3, high >> 6], 2)
    q = (low | high << 4).astype(np.float64) - 32
    scale = b[:, 192:208].view(np.int8).astype(np.float64) * f16(b[:, 208:210])
    return scale[:, :, None] * q.reshape(-1, 16, 16)


WIDEN = {"F32": lambda b: b.view("<f4").astype(np.float64), "F16": f16, "BF16": widen_bf16,
         "Q4_0": widen_q4_0, "Q8_0": widen_q8_0, "Q4_K": widen_q4_k, "Q6_K": widen_q6_k}
