# SPDX-License-Identifier: MIT
"""Operands that a device really multiplied, for the reference to compute with.

A value near the middle between two steps of its rounding goes to either side by
the last bit of a sum, so two correct computations that round for themselves differ
by what steps are worth. Here the reference takes the codes that the device took
(record_operands.c wrote them down), and what remains is the rounding of sums.

Taken, not believed: each code must be what the reference's own value rounds to,
half a step away at most, but for SLACK.  Shapes, types and order must agree.
"""
import struct

import numpy as np

from gguf_file import f16

BLOCK = {"Q8_0": 32, "Q4_0": 32, "Q4_K": 256, "Q6_K": 256}
TYPE = {0: "F32", 1: "F16", 2: "Q4_0", 4: "A8", 5: "A8_K", 8: "Q8_0", 12: "Q4_K", 14: "Q6_K"}
ACTIVATIONS = {"A8": 32, "A8_K": 256}

# In steps of the rounding, amax / 127 of a block: how far sums in single precision may take the
# device's values from those of double precision.
SLACK = 0.005


class Mismatch(ValueError):
    """The device computed something else than the reference."""


def quantise(x, block):
    """x (..., k) as numerics profile 1 rounds it: codes (..., blocks, block), scales (..., blocks, 1)."""
    x = x.astype(np.float32).reshape(*x.shape[:-1], -1, block)
    amax = np.abs(x).max(-1, keepdims=True)
    tiny = amax < np.float32(2.0 ** -120)
    safe = np.where(tiny, np.float32(1), amax)
    d = np.where(tiny, np.float32(0), amax / np.float32(127))
    q = np.clip(np.rint(x * (np.float32(127) / safe)), -127, 127)
    return np.where(tiny, 0, q), d


def widen(q, d):
    out = q.astype(np.float64) * d.astype(np.float64)
    return out.reshape(*out.shape[:-2], -1)


def steps(x, block):
    """One step of each element's block; of a block of zeros anything else is infinitely far."""
    amax = np.abs(x.reshape(*x.shape[:-1], -1, block)).max(-1, keepdims=True)
    return np.broadcast_to(amax / 127, amax.shape[:-1] + (block,)).reshape(x.shape)


def in_steps(difference, step):
    out = np.zeros_like(difference)
    np.divide(np.abs(difference), step, out=out, where=difference != 0)
    return out


class Statistics:
    """What the comparison of operands saw."""
    def __init__(self):
        self.values = self.moved = 0    # roundings; those that went to another step than our own
        self.error = 0.0                # of values before rounding, in steps
        self.rounded = 0.0              # of rounded ones to ours before rounding, in steps
        self.cached = self.cache_moved = 0
        self.cache_error = 0.0          # beyond half a unit of the last place, in steps

    def __str__(self):
        return ("%d of %d operands on another step, furthest %.4f steps (unrounded: %.1e); "
                "cache: %d of %d (%.1e)" % (self.moved, self.values, self.rounded, self.error,
                                           self.cache_moved, self.cached, self.cache_error))


class Recording:
    def __init__(self, path, slack=SLACK):
        with open(path, "rb") as f:
            data = f.read()
        self.path, self.slack, self.next = path, slack, 0
        self.records, self.stats = [], Statistics()
        at = 0
        while at < len(data):
            if len(data) - at < 32:
                raise Mismatch("%s: ends within a record" % path)
            tag, *head = struct.unpack_from("<4s7I", data, at)
            at += 32 + head[6]
            if at > len(data):
                raise Mismatch("%s: ends within a record" % path)
            self.records.append((tag.decode("ascii", "replace"), head[:6],
                                 np.frombuffer(data, np.uint8, head[6], at - head[6])))
        if not self.records or self.records[-1][0] != "TOKS":
            raise Mismatch("%s: does not end with the tokens" % path)
        self.tokens = self.records.pop()[2].view("<i4").tolist()

    # ---- Order ------------------------------------------------------------------------------

    def more(self):
        return self.next < len(self.records)

    def rows(self):
        """Tokens of the run that follows: what it appends to the cache."""
        return next((head[1] for tag, head, _ in self.records[self.next:] if tag == "KEYS"), 0)

    def head(self):
        """Does what follows end in logits before the next layer?"""
        return "LOGT" in [tag for tag, _, _ in self.records[self.next:self.next + 2]]

    def _take(self, tag, where):
        got = self.records[self.next][0] if self.more() else "the end"
        if got != tag:
            raise Mismatch("record %d: %s where %s wants %s" % (self.next, got, where, tag))
        self.next += 1
        return self.records[self.next - 1][1:]

    def _check(self, worst, allowed, where, what):
        if not worst <= allowed:                    # also a NaN
            raise Mismatch("record %d, %s: %s is %.3f steps from the reference, %.3f are allowed" %
                           (self.next - 1, where, what, worst, allowed))

    # ---- Activations --------------------------------------------------------------------------

    def operands(self, x, names, matrices):
        """The device's x (rows, k) for each of matrices (type, rows), which share it."""
        out = []
        while len(out) < len(matrices):
            kind, n = matrices[len(out)]
            where = names[len(out)]
            (x_type, w_type, m, k, total, _), data = self._take("OPND", where)
            if TYPE.get(w_type) != kind or (m, k) != x.shape:
                raise Mismatch("record %d: %s for %d x %d, but %s has %s for %d x %d" % (
                    self.next - 1, TYPE.get(w_type, w_type), m, k, where, kind, *x.shape))
            value = self._operand(x, TYPE.get(x_type), kind, data, where)
            out.append(value)
            # One command may multiply with several matrices of one type.
            while n < total and len(out) < len(matrices) and matrices[len(out)][0] == kind:
                n += matrices[len(out)][1]
                out.append(value)
            if n != total:
                raise Mismatch("record %d: %d columns, %s and what follows have %d" %
                               (self.next - 1, total, where, n))
        return out

    def _operand(self, x, x_type, kind, data, where):
        block = BLOCK[kind]
        if ACTIVATIONS.get(x_type) == block:
            b = data.reshape(*x.shape[:-1], -1, 4 + block)
            q, d = b[..., 4:].view(np.int8), np.ascontiguousarray(b[..., :4]).view("<f4")
            # Of the largest element before rounding, which 127 scales are.
            largest = np.abs(x).reshape(q.shape).max(-1, keepdims=True)
            error = in_steps(127 * d.astype(np.float64) - largest, largest / 127)
        elif x_type in ("F32", "F16"):
            given = data.view("<f4" if x_type == "F32" else "<f2").reshape(x.shape)
            q, d = quantise(given, block)
            error = in_steps(given.astype(np.float64) - x, steps(x, block))
        else:
            raise Mismatch("record %d: %s is multiplied with %s" % (self.next - 1, kind, x_type))
        value = widen(q, d)
        rounded = in_steps(value - x, steps(x, block)).max()
        self._check(error.max(), self.slack, where, "a value before rounding")
        self._check(rounded, 0.5 + self.slack, where, "a rounded value")
        self._count(q, quantise(x, block)[0], error.max(), rounded)
        return value

    def _count(self, q, own, error, rounded):
        s = self.stats
        s.values += q.size
        s.moved += int((q != own).sum())
        s.error, s.rounded = max(s.error, error), max(s.rounded, rounded)

    # ---- Cache -----------------------------------------------------------------------------------

    def cache(self, keys, values, where):
        """What the device wrote to the cache for these, both (time, groups, d)."""
        parts = []
        # A command may do a part of the groups.
        while sum(k.shape[1] for k, _ in parts) < keys.shape[1]:
            parts.append((self._plane("KEYS", where), self._plane("VALS", where)))
        return [self._cached(x, np.concatenate(got, 1), where)
                for x, got in zip((keys, values), zip(*parts))]

    def _plane(self, tag, where):
        (kind, m, groups, d, _, _), data = self._take(tag, where)
        if TYPE.get(kind) != "F16":
            raise Mismatch("record %d: %s in the cache: only F16 is compared" %
                           (self.next - 1, TYPE.get(kind, kind)))
        return f16(data).reshape(groups, m, d).transpose(1, 0, 2)

    def _cached(self, x, got, where):
        if got.shape != x.shape:
            raise Mismatch("record %d: %d x %d x %d in the cache, but %s has %d x %d x %d" %
                           (self.next - 1, *got.shape, where, *x.shape))
        own = x.astype(np.float16)
        beyond = np.maximum(np.abs(got - x) - np.spacing(np.abs(own)).astype(np.float64) / 2, 0)
        error = in_steps(beyond, steps(x, x.shape[-1])).max()
        self._check(error, self.slack, where, "a value in the cache, beyond its rounding,")
        s = self.stats
        s.cached += got.size
        s.cache_moved += int((got != own).sum())
        s.cache_error = max(s.cache_error, error)
        return got

    def logits(self):
        _, data = self._take("LOGT", "output")
        return data.view("<f4").astype(np.float64)


def replay(model):
    """(the reference's logits, the device's) wherever the device computed them."""
    recording, state, at = model.recording, {}, 0
    while recording.more():
        n = recording.rows()
        ids = recording.tokens[at:at + n]
        if not n or len(ids) != n:
            raise Mismatch("%d tokens, but activations of %d" % (len(recording.tokens), at + n))
        x = model.hidden(ids, state)
        at += n
        if recording.head():
            yield model.logits(x[-1:])[0], recording.logits()
    if at != len(recording.tokens) and at + 1 != len(recording.tokens):
        raise Mismatch("%d tokens, but activations of %d" % (len(recording.tokens), at))
