#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes a training state as a GGUF file.

usage: export.py STATE.pt OUT.gguf [--type Q8_0|Q4_0|F16|F32] [--average] [--dir DIR]
"""
import argparse
import os

import torch

import gguf
import model
import tokenizer
from prepare import CACHE

NAME = "OpenNPU Storyteller"
FILE_TYPE = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7}     # general.file_type
SOURCE = ("Children's books of Project Gutenberg, public domain in the USA; "
          "the titles are in MODEL_CARD.md")


# What the model card's samples were written with.
SAMPLING = (("temp", gguf.F32, 0.6), ("top_k", gguf.I32, 40), ("top_p", gguf.F32, 0.9),
            ("min_p", gguf.F32, 0.05), ("penalty_repeat", gguf.F32, 1.1))


def metadata(w, cfg, tok, kind):
    w.add("general.architecture", gguf.STRING, "llama")
    w.add("general.name", gguf.STRING, NAME)
    w.add("general.license", gguf.STRING, "mit")
    w.add("general.description", gguf.STRING, SOURCE)
    w.add("general.file_type", gguf.U32, FILE_TYPE[kind])
    w.add("general.quantization_version", gguf.U32, 2)
    for key, kind, value in SAMPLING:
        w.add("general.sampling." + key, kind, value)
    for key, kind, value in (
            ("context_length", gguf.U32, cfg.context),
            ("embedding_length", gguf.U32, cfg.dim),
            ("block_count", gguf.U32, cfg.layers),
            ("feed_forward_length", gguf.U32, cfg.ffn),
            ("attention.head_count", gguf.U32, cfg.heads),
            ("attention.head_count_kv", gguf.U32, cfg.kv_heads),
            ("attention.layer_norm_rms_epsilon", gguf.F32, cfg.eps),
            ("rope.dimension_count", gguf.U32, cfg.head_dim),
            ("rope.freq_base", gguf.F32, cfg.rope_base),
            ("vocab_size", gguf.U32, cfg.vocab)):
        w.add("llama." + key, kind, value)
    w.add("tokenizer.ggml.model", gguf.STRING, "llama")
    w.add_array("tokenizer.ggml.tokens", gguf.STRING, tok.tokens)
    w.add_array("tokenizer.ggml.scores", gguf.F32, tok.scores)
    w.add_array("tokenizer.ggml.token_type", gguf.I32, tok.types)
    for key, value in (("bos", tokenizer.BOS), ("eos", tokenizer.EOS), ("unknown", tokenizer.UNK)):
        w.add("tokenizer.ggml.%s_token_id" % key, gguf.U32, value)
    w.add("tokenizer.ggml.add_bos_token", gguf.BOOL, True)
    w.add("tokenizer.ggml.add_eos_token", gguf.BOOL, False)
    w.add("tokenizer.ggml.add_space_prefix", gguf.BOOL, True)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("state")
    ap.add_argument("out")
    ap.add_argument("--type", default="Q8_0", choices=FILE_TYPE)
    ap.add_argument("--average", action="store_true", help="the running average of the weights")
    ap.add_argument("--dir", default=CACHE)
    args = ap.parse_args()
    st = torch.load(args.state, map_location="cpu")
    cfg = model.Config(**st["cfg"])
    params = st["ema" if args.average else "p"]
    tok = tokenizer.Tokenizer.load(os.path.join(args.dir, "tokenizer.json"))
    w = gguf.Writer(args.out + ".tmp")
    metadata(w, cfg, tok, args.type)
    # Norm weights stay F32: they are small and no matrix product reads them.
    kinds = {k: args.type if t.dim() == 2 else "F32" for k, t in params.items()}
    for k, t in params.items():
        w.announce(k + ".weight", tuple(t.shape), kinds[k])
    w.begin_data()
    for k, t in params.items():
        w.write(gguf.encode(t.numpy(), kinds[k]))
    w.close()
    os.replace(args.out + ".tmp", args.out)
    print("%s: %d parameters, %d bytes, step %d, %d tokens seen" %
          (args.out, sum(t.numel() for t in params.values()), os.path.getsize(args.out),
           st["step"], st["tokens"]))


if __name__ == "__main__":
    main()
