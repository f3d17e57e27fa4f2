#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Held-out bits per byte of a training state, beside n-gram models.

usage: evaluate.py STATE.pt [--average] [--type Q8_0] [--ngrams]

Every held-out document is scored from its begin token to its end token, in
windows of the context length that advance by half of it; only tokens with at
least half a window before them (or the whole document so far) are counted.
"""
import argparse
import os

import numpy as np
import torch

import corpus
import gguf
import model
import ngram
import tokenizer
from prepare import CACHE


def documents(ids):
    """Splits packed tokens into documents, each <s> ... </s>."""
    ends = np.flatnonzero(ids == tokenizer.EOS)
    return np.split(ids, ends[:-1] + 1)


def rounded(params, kind):
    """The weights as a GGUF file of that type would give them back."""
    out = {}
    for k, t in params.items():
        x = t.numpy()
        if t.dim() == 2 and kind == "Q8_0":
            b = np.frombuffer(gguf.q8_0(x), np.dtype([("d", "<f2"), ("q", "i1", 32)]))
            x = (b["d"].astype(np.float32)[:, None] * b["q"]).reshape(x.shape)
        elif t.dim() == 2 and kind == "F16":
            x = x.astype(np.float16).astype(np.float32)
        out[k] = torch.from_numpy(np.ascontiguousarray(x))
    return out


@torch.no_grad()
def network_nats(cfg, p, doc, context):
    total, done = 0.0, 1
    doc = torch.from_numpy(doc.astype(np.int64))
    while done < len(doc):
        end = min(len(doc), done + (context if done == 1 else context // 2))
        start = max(0, end - 1 - context)
        h = model.forward(cfg, p, doc[None, start:end - 1], fast=False)[done - 1 - start:]
        logits = h @ p["token_embd" if cfg.tied else "output"].t()
        total += float(torch.nn.functional.cross_entropy(logits, doc[done:end], reduction="sum"))
        done = end
    return total


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("state")
    ap.add_argument("--average", action="store_true")
    ap.add_argument("--type", default="F32", choices=("F32", "F16", "Q8_0"))
    ap.add_argument("--context", type=int)
    ap.add_argument("--ngrams", action="store_true", help="score 3- to 5-gram models as well")
    ap.add_argument("--overlap", action="store_true",
                    help="share of held-out 13-grams of tokens that the training text has")
    ap.add_argument("--dir", default=CACHE)
    args = ap.parse_args()
    torch.set_num_threads(1)
    st = torch.load(args.state, map_location="cpu")
    cfg = model.Config(**st["cfg"])
    p = rounded(st["ema" if args.average else "p"], args.type)
    tok = tokenizer.Tokenizer.load(os.path.join(args.dir, "tokenizer.json"))
    held = np.fromfile(os.path.join(args.dir, "held.u16"), np.uint16)
    with open(os.path.join(args.dir, "held.txt"), encoding="utf-8") as f:
        n_bytes = sum(len(d.encode()) - 1 for d in f.read().split(corpus.END + "\n"))
    docs = documents(held)
    n_tokens = len(held) - len(docs)

    def report(name, nats):
        print("%-28s %.4f bits/byte  %.4f nats/token" %
              (name, nats / n_bytes / np.log(2), nats / n_tokens), flush=True)

    print("held out: %d documents, %d bytes, %d tokens; state: step %d, %d tokens seen" %
          (len(docs), n_bytes, n_tokens, st["step"], st["tokens"]))
    context = args.context or cfg.context
    report("network %s" % args.type, sum(network_nats(cfg, p, d, context) for d in docs))
    train = np.fromfile(os.path.join(args.dir, "train.u16"), np.uint16)
    if args.ngrams:
        for n in (3, 4, 5):
            lm, pad = ngram.KneserNey(train, n), np.full(n - 2, tokenizer.EOS, np.uint16)
            # The tokens before a document's begin token are the end of another one.
            report("%d-gram, Kneser-Ney" % n, sum(
                lm.nats(np.concatenate([pad, d]))[n - 1:].sum() for d in docs))
    if args.overlap:
        seen = np.unique(hashes(train, 13))
        shares = [float(np.isin(hashes(d, 13), seen).mean()) for d in docs]
        print("13-grams of the training text per held-out document: median %.4f, largest %s" %
              (np.median(shares), " ".join("%.3f" % s for s in sorted(shares)[-5:])))


def hashes(ids, n):
    h = np.zeros(len(ids) - n + 1, np.uint64)
    for j in range(n):
        h = h * np.uint64(0x9E3779B97F4A7C15) + ids[j:len(ids) - n + 1 + j].astype(np.uint64) + \
            np.uint64(1)
    return h


if __name__ == "__main__":
    main()
