#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Cleans and splits the text, trains the tokenizer, writes token files.

usage: prepare.py TEXT[.xz] [--vocab 4096] [--out DIR]
"""
import argparse
import os

import numpy as np

import corpus
import tokenizer

CACHE = os.path.join(os.environ.get("NPU_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "opennpu"), "train")


def pack(tok, documents):
    """<s> document </s> <s> document </s> ... and the bytes of text per token."""
    ids = []
    for doc in documents:
        ids += [tokenizer.BOS] + tok.encode(doc) + [tokenizer.EOS]
    return np.array(ids, np.uint16)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("text")
    ap.add_argument("--vocab", type=int, default=4096)
    ap.add_argument("--out", default=CACHE)
    args = ap.parse_args()
    os.makedirs(args.out, exist_ok=True)
    train, held = corpus.load(args.text)
    tok = tokenizer.train(train, args.vocab)
    tok.save(os.path.join(args.out, "tokenizer.json"))
    for name, docs in (("train", train), ("held", held)):
        ids = pack(tok, docs)
        n_bytes = sum(len(d.encode()) for d in docs)
        ids.tofile(os.path.join(args.out, name + ".u16"))
        with open(os.path.join(args.out, name + ".txt"), "w", encoding="utf-8") as f:
            f.write((corpus.END + "\n").join(d + "\n" for d in docs))
        print("%s: %d documents, %d bytes, %d tokens (%.3f bytes/token)" %
              (name, len(docs), n_bytes, len(ids), n_bytes / len(ids)))
    sample = held[0][:300]
    assert tok.decode(tok.encode(sample)) == sample
    print("|".join(tok.tokens[i] for i in tok.encode(sample)))


if __name__ == "__main__":
    main()
