#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes a GGUF file again with its matrices in another type.

usage: convert.py IN.gguf OUT.gguf --type F16|F32|BF16|Q8_0|Q4_0|Q4_K|Q6_K

For comparing types on the same weights.  The quantisers are simple (scales from
the extremes, no search).  Matrices whose rows do not divide into the type's
blocks become Q8_0, or F16 where that does not fit either, with a notice.
"""
import argparse
import os
import sys

import numpy as np

from gguf_file import Gguf

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/train"))
import gguf                                                     # noqa: E402

KINDS = {bool: gguf.BOOL, str: gguf.STRING, float: gguf.F32}
FILE_TYPE = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7, "Q4_K": 15, "Q6_K": 18, "BF16": 32}


def safe_inverse(d):
    return np.divide(1, d, out=np.zeros_like(d), where=d != 0)


def q4_k(x):
    x = np.asarray(x, np.float32).reshape(-1, 8, 32)
    least = np.minimum(x.min(2), 0)
    scale = (x.max(2) - least) / 15
    d = (scale.max(1) / 63).astype("<f2")
    dmin = (-least.min(1) / 63).astype("<f2")
    df, mf = d.astype(np.float32)[:, None], dmin.astype(np.float32)[:, None]
    s = np.clip(np.rint(scale * safe_inverse(df)), 0, 63).astype(np.uint8)
    m = np.clip(np.rint(-least * safe_inverse(mf)), 0, 63).astype(np.uint8)
    step = (df * s)[:, :, None]
    q = np.clip(np.rint((x + (mf * m)[:, :, None]) * safe_inverse(step)), 0, 15).astype(np.uint8)
    out = np.zeros((len(x), 144), np.uint8)
    out[:, 0:2], out[:, 2:4] = d.view(np.uint8).reshape(-1, 2), dmin.view(np.uint8).reshape(-1, 2)
    out[:, 4:8] = s[:, :4] | s[:, 4:] >> 4 << 6
    out[:, 8:12] = m[:, :4] | m[:, 4:] >> 4 << 6
    out[:, 12:16] = s[:, 4:] & 15 | (m[:, 4:] & 15) << 4
    q = q.reshape(-1, 4, 2, 32)
    out[:, 16:] = (q[:, :, 0] | q[:, :, 1] << 4).reshape(-1, 128)
    return out.tobytes()


def q6_k(x):
    x = np.asarray(x, np.float32).reshape(-1, 16, 16)
    top = np.take_along_axis(x, np.abs(x).argmax(2)[:, :, None], 2)[:, :, 0]
    scale = top / -32
    widest = np.take_along_axis(scale, np.abs(scale).argmax(1)[:, None], 1)
    d = (widest / -128).astype("<f2")
    df = d.astype(np.float32)
    s = np.clip(np.rint(scale * safe_inverse(df)), -128, 127).astype(np.int8)
    q = np.clip(np.rint(x * safe_inverse(df * s)[:, :, None]), -32, 31).astype(np.int8) + 32
    q = q.astype(np.uint8).reshape(-1, 2, 4, 32)
    low, high = q & 15, q >> 4
    out = np.zeros((len(x), 210), np.uint8)
    out[:, :128] = np.concatenate([low[:, :, :2].reshape(-1, 2, 64) |
                                   low[:, :, 2:].reshape(-1, 2, 64) << 4], 2).reshape(-1, 128)
    out[:, 128:192] = (high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 |
                       high[:, :, 3] << 6).reshape(-1, 64)
    out[:, 192:208] = s.view(np.uint8)
    out[:, 208:210] = d.view(np.uint8).reshape(-1, 2)
    return out.tobytes()


def encode(x, kind):
    return {"Q4_K": q4_k, "Q6_K": q6_k}.get(kind, lambda v: gguf.encode(v, kind))(x)


def copy_metadata(w, meta, kind):
    for key, value in meta.items():
        if key == "general.file_type":
            value = FILE_TYPE[kind]
        if isinstance(value, list):
            of = KINDS.get(type(value[0]), gguf.I32) if value else gguf.I32
            w.add_array(key, of, value)
        else:
            w.add(key, KINDS.get(type(value), gguf.U32), value)


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("source")
    ap.add_argument("out")
    ap.add_argument("--type", required=True, choices=sorted(FILE_TYPE))
    args = ap.parse_args()
    src, w = Gguf(args.source), gguf.Writer(args.out + ".tmp")
    copy_metadata(w, src.meta, args.type)
    kinds = {}
    for name, (shape, number, _) in src.tensors.items():
        kind = args.type if len(shape) > 1 else "F32"
        for other in ("Q8_0", "F16"):
            if shape[-1] % gguf.TYPES[kind][1]:
                print("%s: rows of %d do not fit %s, written as %s" %
                      (name, shape[-1], kind, other), file=sys.stderr)
                kind = other
        kinds[name] = kind
        w.announce(name, shape, kind)
    w.begin_data()
    for name, kind in kinds.items():
        w.write(encode(src.tensor(name), kind))
    w.close()
    os.replace(args.out + ".tmp", args.out)


if __name__ == "__main__":
    main()
