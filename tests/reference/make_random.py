#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes a GGUF file of a given shape with random weights, for speed and correctness tests.

usage: make_random.py SHAPE [--type Q8_0] [--output-type T] [--seed N] [--out FILE]
       make_random.py --list

The weights are drawn so that activations keep their size from block to block;
the text that such a model writes means nothing.  The same arguments give the
same bytes.  Files go to the cache ($NPU_CACHE or ~/.cache/opennpu) unless --out
says otherwise; a file that is already there is kept.
"""
import argparse
import os
import statistics
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/train"))
import gguf                                                     # noqa: E402

CHUNK = 1 << 22                # elements made at a time


def shape(arch, vocab, dim, layers, heads, kv_heads, ffn, context, base=10000.0, head_dim=None,
          tied=False, eps=1e-5):
    return dict(arch=arch, vocab=vocab, dim=dim, layers=layers, heads=heads, kv_heads=kv_heads,
                ffn=ffn, context=context, base=base, head_dim=head_dim or dim // heads,
                tied=tied, eps=eps)


SHAPES = {
    "tinyllama-1.1b": shape("llama", 32000, 2048, 22, 32, 4, 5632, 2048),
    "smollm2-135m": shape("llama", 49152, 576, 30, 9, 3, 1536, 8192, 100000.0, tied=True),
    "llama3.2-1b": shape("llama", 128256, 2048, 16, 32, 8, 8192, 8192, 500000.0, tied=True),
    "qwen2.5-0.5b": shape("qwen2", 151936, 896, 24, 14, 2, 4864, 4096, 1e6, tied=True, eps=1e-6),
    "qwen3-0.6b": shape("qwen3", 151936, 1024, 28, 16, 8, 3072, 4096, 1e6, 128, True, 1e-6),
    "tiny-llama": shape("llama", 512, 256, 3, 8, 2, 512, 256),
    "tiny-qwen2": shape("qwen2", 640, 256, 3, 4, 2, 512, 256, 1e6, tied=True, eps=1e-6),
    "tiny-qwen3": shape("qwen3", 640, 256, 3, 4, 2, 512, 256, 1e6, 128, eps=1e-6),
}


class Random:
    """Random tensors as bytes of a GGUF type, chunk by chunk."""
    def __init__(self, seed):
        self.rng = np.random.Generator(np.random.SFC64(seed))
        n = 1 << 16
        dist = statistics.NormalDist()
        # A 16-bit random number picks a quantile of the normal distribution.
        self.normal = np.array([dist.inv_cdf((i + 0.5) / n) for i in range(n)], np.float32)

    def bits(self, n_bytes):
        return self.rng.integers(0, 1 << 64, -(-n_bytes // 8), np.uint64).view(np.uint8)[:n_bytes]

    def scales(self, n, mean):
        """n F16 scales spread by a quarter around mean, as bytes (n, 2)."""
        table = (mean * np.linspace(0.75, 1.25, 256)).astype("<f2")
        return table[self.bits(n)].view(np.uint8).reshape(n, 2)

    def chunk(self, kind, n, std):
        if kind in ("F32", "F16", "BF16"):
            table = self.normal * np.float32(std)
            if kind == "BF16":
                table = np.frombuffer(gguf.encode(table, kind), "<u2")
            else:
                table = table.astype("<f4" if kind == "F32" else "<f2")
            return table[self.bits(2 * n).view(np.uint16)]
        _, per, size = gguf.TYPES[kind]
        b = self.bits(n // per * size).reshape(-1, size)
        rows = len(b)
        # The bits are uniform: what remains is to set the scales, and so the deviation.
        if kind == "Q8_0":
            b[:, 0:2] = self.scales(rows, std / 73.9)
        elif kind == "Q4_0":
            # Scales of both signs, as real files have: -8 to 7 is not centred.
            b[:, 0:2] = self.scales(rows, std / 4.64)
            b[:, 1] ^= self.bits(rows) & 0x80
        elif kind == "Q4_K":
            d = self.scales(rows, std / 263)
            b[:, 0:2] = d
            b[:, 2:4] = (d.view("<f2") * np.float32(7.5)).astype("<f2").view(np.uint8)
        elif kind == "Q6_K":
            b[:, 208:210] = self.scales(rows, std / 1368)
        return b

    def tensor(self, writer, kind, count, std):
        left = count
        while left:
            n = min(left, CHUNK)
            writer.f.write(self.chunk(kind, n, std).data)
            left -= n
        writer.write(b"")


def llama_tokens(vocab):
    tokens = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    types = [2, 3, 3] + [6] * 256
    chars = ["\u2581"] + [chr(c) for c in range(33, 127)]
    pieces = ["\u2581" + c for c in chars[1:]]
    extra = [a + b for a in pieces for b in chars[1:]]
    extra += [a + b for a in extra for b in chars[1:]]
    words = (pieces + extra)[:vocab - len(tokens) - len(chars)]
    tokens += words + chars
    tokens = tokens[:vocab]
    return tokens, [-float(max(0, i - 258)) for i in range(vocab)], (types + [1] * vocab)[:vocab]


def byte_chars():
    """The 256 printable characters by which byte-level BPE writes bytes."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    other = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(other))]


def bpe_tokens(vocab):
    chars = byte_chars()
    letters = [chr(c) for c in range(97, 123)]
    tokens, merges = list(chars), []
    firsts = ["\u0120"] + letters
    while len(tokens) < vocab - 1:
        longer = []
        for a in firsts:
            for b in letters:
                if len(tokens) < vocab - 1:
                    tokens.append(a + b)
                    merges.append(a + " " + b)
                    longer.append(a + b)
        firsts = longer
    return tokens + ["<|endoftext|>"], merges


def metadata(w, s, name, kind):
    file_type = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7, "Q4_K": 15, "Q6_K": 18, "BF16": 32}
    w.add("general.architecture", gguf.STRING, s["arch"])
    w.add("general.name", gguf.STRING, "random " + name)
    w.add("general.file_type", gguf.U32, file_type[kind])
    w.add("general.quantization_version", gguf.U32, 2)
    for key, value in (("context_length", s["context"]), ("embedding_length", s["dim"]),
                       ("block_count", s["layers"]), ("feed_forward_length", s["ffn"]),
                       ("attention.head_count", s["heads"]),
                       ("attention.head_count_kv", s["kv_heads"]),
                       ("attention.key_length", s["head_dim"]),
                       ("attention.value_length", s["head_dim"]),
                       ("rope.dimension_count", s["head_dim"]), ("vocab_size", s["vocab"])):
        w.add(s["arch"] + "." + key, gguf.U32, value)
    w.add(s["arch"] + ".rope.freq_base", gguf.F32, s["base"])
    w.add(s["arch"] + ".attention.layer_norm_rms_epsilon", gguf.F32, s["eps"])
    if s["arch"] == "llama":
        tokens, scores, types = llama_tokens(s["vocab"])
        w.add("tokenizer.ggml.model", gguf.STRING, "llama")
        w.add_array("tokenizer.ggml.tokens", gguf.STRING, tokens)
        w.add_array("tokenizer.ggml.scores", gguf.F32, scores)
        w.add_array("tokenizer.ggml.token_type", gguf.I32, types)
        w.add("tokenizer.ggml.bos_token_id", gguf.U32, 1)
        w.add("tokenizer.ggml.eos_token_id", gguf.U32, 2)
        w.add("tokenizer.ggml.unknown_token_id", gguf.U32, 0)
    else:
        tokens, merges = bpe_tokens(s["vocab"])
        w.add("tokenizer.ggml.model", gguf.STRING, "gpt2")
        w.add("tokenizer.ggml.pre", gguf.STRING, "qwen2")
        w.add_array("tokenizer.ggml.tokens", gguf.STRING, tokens)
        w.add_array("tokenizer.ggml.token_type", gguf.I32, [1] * (len(tokens) - 1) + [3])
        w.add_array("tokenizer.ggml.merges", gguf.STRING, merges)
        w.add("tokenizer.ggml.eos_token_id", gguf.U32, len(tokens) - 1)
        w.add("tokenizer.ggml.add_bos_token", gguf.BOOL, False)


def tensors(s, kind, output_kind):
    """(name, shape, type, deviation); None: a vector of ones."""
    dim, q, kv = s["dim"], s["heads"] * s["head_dim"], s["kv_heads"] * s["head_dim"]
    calm = (2 * s["layers"]) ** -0.5       # residual branches add up to the size of one
    out = [("token_embd.weight", (s["vocab"], dim), output_kind if s["tied"] else kind,
            0.05 if s["tied"] else 0.5)]
    for n in range(s["layers"]):
        b = "blk.%d." % n

        def matrix(name, rows, cols, gain=1.0):
            out.append((b + name + ".weight", (rows, cols), kind, gain * cols ** -0.5))

        out.append((b + "attn_norm.weight", (dim,), "F32", None))
        matrix("attn_q", q, dim)
        matrix("attn_k", kv, dim)
        matrix("attn_v", kv, dim)
        if s["arch"] == "qwen2":
            out += [(b + "attn_%s.bias" % x, (n,), "F32", 0.5) for x, n in
                    (("q", q), ("k", kv), ("v", kv))]
        if s["arch"] == "qwen3":
            out += [(b + "attn_%s_norm.weight" % x, (s["head_dim"],), "F32", None) for x in "qk"]
        matrix("attn_output", dim, q, calm)
        out.append((b + "ffn_norm.weight", (dim,), "F32", None))
        matrix("ffn_gate", s["ffn"], dim)
        matrix("ffn_up", s["ffn"], dim)
        matrix("ffn_down", dim, s["ffn"], calm)
    out.append(("output_norm.weight", (dim,), "F32", None))
    if not s["tied"]:
        out.append(("output.weight", (s["vocab"], dim), output_kind, dim ** -0.5))
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("shape", nargs="?", choices=sorted(SHAPES))
    ap.add_argument("--list", action="store_true")
    ap.add_argument("--type", default="Q8_0", choices=sorted(gguf.TYPES))
    ap.add_argument("--output-type", choices=sorted(gguf.TYPES),
                    help="type of the output matrix (Q4_0 files often have Q6_K there)")
    ap.add_argument("--layers", type=int, help="another number of blocks")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--out")
    args = ap.parse_args()
    if args.list or not args.shape:
        for name, s in SHAPES.items():
            print(name, *("%s=%s" % kv for kv in s.items()))
        return
    s = dict(SHAPES[args.shape], **({"layers": args.layers} if args.layers else {}))
    output_kind = args.output_type or args.type
    cache = os.environ.get("NPU_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "opennpu")
    name = "-".join([args.shape, args.type] + ([args.output_type] if args.output_type else []) +
                    (["%dl" % args.layers] if args.layers else []) +
                    (["seed%d" % args.seed] if args.seed != 1 else []))
    path = args.out or os.path.join(cache, "random", name + ".gguf")
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if os.path.exists(path) and not args.out:
        print(path)            # it was renamed into place only when complete
        return
    w, rnd = gguf.Writer(path + ".tmp"), Random(args.seed)
    metadata(w, s, name, args.type)
    table = tensors(s, args.type, output_kind)
    try:
        for t in table:
            w.announce(*t[:3])
    except ValueError as e:
        os.unlink(path + ".tmp")
        sys.exit("make_random.py: %s" % e)
    w.begin_data()
    for _, dims, kind, std in table:
        count = int(np.prod(dims))
        if std is None:
            w.write(np.ones(count, "<f4").tobytes())
        else:
            rnd.tensor(w, kind, count, std)
    w.close()
    os.replace(path + ".tmp", path)
    print(path)


if __name__ == "__main__":
    main()
