#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A Transformer's forward pass from a GGUF file in double precision.

Independent of the library and of the hardware model: what they compute is
compared with this.  Architectures: llama, qwen2, qwen3.

usage: forward.py MODEL.gguf -p TEXT | --ids "1 2 3" [-n N] [--logits OUT.f64]
       forward.py MODEL.gguf --operands-from RECORD
       forward.py MODEL.gguf --perplexity TEXT.txt [--context N] [--max-tokens N]

--operands quantised: activations that meet quantised weights are first rounded
as the hardware rounds them (numerics profile 1: blocks of 32, of 256 for the
K-quants, scale amax / 127), then multiplied in double precision.
--operands-from: with the very operands that a device multiplied, and its logits
beside ours (record_operands writes RECORD, operands.py checks it).
--kv f16: keys and values are rounded as an F16 cache stores them; q8_0 likewise.
"""
import argparse
import sys

import numpy as np

from gguf_file import Gguf
from operands import BLOCK, Recording, quantise, replay, widen
from spm import Spm


def round_activations(x, block):
    """x (..., k): what remains of it after quantisation in blocks, widened again."""
    return widen(*quantise(x, block))


def round_cache(x, kind):
    if kind == "f16":
        return x.astype(np.float16).astype(np.float64)
    if kind == "q8_0":
        b = x.astype(np.float32).reshape(*x.shape[:-1], -1, 32)
        amax = np.abs(b).max(-1, keepdims=True)
        inv = np.divide(np.float32(127), amax, out=np.zeros_like(amax), where=amax > 0)
        q = np.clip(np.rint(b * inv), -127, 127).astype(np.float64)
        d = (amax / np.float32(127)).astype(np.float16).astype(np.float64)
        return (q * d).reshape(x.shape)
    return x


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Model:
    """operands: "exact", "quantised", or a Recording, which then also says what the cache holds."""
    def __init__(self, gguf, operands="exact", kv="f64"):
        m = gguf.meta
        self.gguf, self.operands, self.kv_type = gguf, operands, kv
        self.recording = operands if isinstance(operands, Recording) else None
        self.arch = m["general.architecture"]
        if self.arch not in ("llama", "qwen2", "qwen3"):
            raise ValueError("architecture %r: want llama, qwen2 or qwen3" % self.arch)

        def get(key, default=None):
            v = m.get(self.arch + "." + key, default)
            if v is None:
                raise ValueError("no key %s.%s" % (self.arch, key))
            return v

        self.dim, self.layers = get("embedding_length"), get("block_count")
        self.heads = get("attention.head_count")
        self.kv_heads = get("attention.head_count_kv", self.heads)
        self.head_dim = get("attention.key_length", self.dim // self.heads)
        self.eps = get("attention.layer_norm_rms_epsilon")
        self.context = get("context_length")
        rope_dims = get("rope.dimension_count", self.head_dim)
        base = get("rope.freq_base", 10000.0)
        # Angle per position of each pair of a head.
        self.freq = base ** (-np.arange(0, rope_dims, 2) / rope_dims)
        if get("rope.scaling.type", "none") == "linear":
            self.freq = self.freq / get("rope.scaling.factor")
        if "rope_freqs.weight" in gguf.tensors:
            self.freq = self.freq / self.tensor("rope_freqs.weight")
        self.cache = {}

    def tensor(self, name):
        if name not in self.gguf.tensors:
            raise ValueError("no tensor " + name)
        return self.gguf.tensor(name)

    def _kept(self, name):
        if name not in self.cache:
            self.cache[name] = self.tensor(name)
        return self.cache[name]

    def operand(self, x, names):
        """x as it meets each of the matrices."""
        kinds = [self.gguf.type_of(name + ".weight") for name in names]
        if self.operands == "exact":
            return [x] * len(names)
        if not self.recording:
            return [round_activations(x, BLOCK[k]) if k in BLOCK else x for k in kinds]
        at = [i for i, k in enumerate(kinds) if k in BLOCK]
        out = [x] * len(names)
        taken = self.recording.operands(x, [names[i] for i in at], [
            (kinds[i], self.gguf.tensors[names[i] + ".weight"][0][0]) for i in at])
        for i, value in zip(at, taken):
            out[i] = value
        return out

    def linear(self, x, *names):
        """x (rows, in) times each of the matrices (out, in), plus its bias if there is one."""
        out = []
        for name, operand in zip(names, self.operand(x, names)):
            y = operand @ self._kept(name + ".weight").T
            out.append(y + self._kept(name + ".bias") if name + ".bias" in self.gguf.tensors else y)
        return out

    def norm(self, x, name):
        return rms_norm(x, self._kept(name + ".weight"), self.eps)

    def rope(self, x, positions):
        """x (time, heads, head_dim).  llama pairs (2i, 2i + 1); qwen (i, i + n / 2)."""
        angle = positions[:, None, None] * self.freq            # (time, 1, pairs)
        cos, sin = np.cos(angle), np.sin(angle)
        n, y = 2 * len(self.freq), x.copy()
        first, second = (slice(0, n, 2), slice(1, n, 2)) if self.arch == "llama" else \
            (slice(0, n // 2), slice(n // 2, n))
        a, b = x[..., first], x[..., second]
        y[..., first], y[..., second] = a * cos - b * sin, a * sin + b * cos
        return y

    def cached(self, k, v, block):
        """Keys and values as the cache gives them back."""
        if self.recording:
            return self.recording.cache(k, v, block + "attn")
        return round_cache(k, self.kv_type), round_cache(v, self.kv_type)

    def attention(self, x, block, state, positions):
        time, group = len(x), self.heads // self.kv_heads
        q, k, v = (y.reshape(time, -1, self.head_dim) for y in
                   self.linear(x, block + "attn_q", block + "attn_k", block + "attn_v"))
        if block + "attn_q_norm.weight" in self.gguf.tensors:    # qwen3: each head by itself
            q, k = self.norm(q, block + "attn_q_norm"), self.norm(k, block + "attn_k_norm")
        q, k = self.rope(q, positions), self.rope(k, positions)
        old_k, old_v = state.get(block, (k[:0], v[:0]))
        k, v = self.cached(k, v, block)
        k, v = np.concatenate([old_k, k]), np.concatenate([old_v, v])
        state[block] = k, v
        hidden = np.arange(len(k)) > positions[:, None]          # the future
        out = np.empty_like(q)
        for h in range(self.heads):
            s = q[:, h] @ k[:, h // group].T / np.sqrt(self.head_dim)
            s[hidden] = -np.inf
            out[:, h] = softmax(s) @ v[:, h // group]
        return self.linear(out.reshape(time, -1), block + "attn_output")[0]

    def hidden(self, ids, state):
        """What the layers make (time, dim) of the ids that follow those already in state."""
        start = state.get("length", 0)
        state["length"] = start + len(ids)
        positions = np.arange(start, start + len(ids))
        x = self._kept("token_embd.weight")[ids]                 # (time, dim)
        for n in range(self.layers):
            block = "blk.%d." % n
            x = x + self.attention(self.norm(x, block + "attn_norm"), block, state, positions)
            h = self.norm(x, block + "ffn_norm")
            gate, up = self.linear(h, block + "ffn_gate", block + "ffn_up")
            x = x + self.linear(gate / (1 + np.exp(-gate)) * up, block + "ffn_down")[0]
        return x

    def logits(self, x):
        tied = "output.weight" not in self.gguf.tensors
        return self.linear(self.norm(x, "output_norm"), "token_embd" if tied else "output")[0]

    def forward(self, ids, state):
        """Logits (time, vocab) of the ids that follow those already in state."""
        return self.logits(self.hidden(ids, state))


def greedy(model, ids, n, stop):
    state, out = {}, []
    logits = model.forward(ids, state)[-1]
    while len(out) < n:
        token = int(logits.argmax())
        if token == stop:
            break
        out.append(token)
        logits = model.forward([token], state)[-1]
    return out


def perplexity(model, ids, bos, context):
    """Nats per token over windows of context - 1 tokens, each after a begin token."""
    total = count = 0
    for i in range(0, len(ids), context - 1):
        window = [bos] + ids[i:i + context - 1]
        logits = model.forward(window[:-1], {})
        logits -= logits.max(-1, keepdims=True)
        total += (np.log(np.exp(logits).sum(-1)) -
                  logits[np.arange(len(window) - 1), window[1:]]).sum()
        count += len(window) - 1
    return total / count, count


def compare(path, record):
    """Print how far the device's logits are from ours, and its operands."""
    recording = Recording(record)
    model = Model(Gguf(path), recording)
    worst = [np.abs(ours - device).max() for ours, device in replay(model)]
    print("%d rows of logits, largest difference %.3g" % (len(worst), max(worst, default=0)))
    print(recording.stats)


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model")
    ap.add_argument("-p", "--prompt")
    ap.add_argument("--ids", help="token numbers instead of a text")
    ap.add_argument("-n", type=int, default=0, help="tokens to generate greedily")
    ap.add_argument("--no-bos", action="store_true")
    ap.add_argument("--logits", help="write the prompt's logits, rows of doubles")
    ap.add_argument("--top", type=int, default=5)
    ap.add_argument("--perplexity", metavar="TEXT")
    ap.add_argument("--context", type=int)
    ap.add_argument("--max-tokens", type=int)
    ap.add_argument("--operands", choices=("exact", "quantised"), default="exact")
    ap.add_argument("--operands-from", metavar="RECORD")
    ap.add_argument("--kv", choices=("f64", "f16", "q8_0"), default="f64")
    args = ap.parse_args()
    try:
        if args.operands_from:
            compare(args.model, args.operands_from)
            return
        gguf = Gguf(args.model)
        model = Model(gguf, args.operands, args.kv)
        spm = None if args.ids else Spm(gguf.meta)
    except (OSError, ValueError, KeyError) as e:
        sys.exit("forward.py: %s" % e)
    if args.perplexity:
        with open(args.perplexity, encoding="utf-8") as f:
            text = f.read()
        ids = spm.encode(text)[:args.max_tokens]
        n_bytes = len(spm.decode(ids).encode())
        nats, count = perplexity(model, ids, spm.bos, args.context or model.context)
        print("tokens %d  nats/token %.5f  perplexity %.4f  bits/byte %.5f" %
              (count, nats, np.exp(nats), nats * count / n_bytes / np.log(2)))
        return
    if args.ids:
        ids = [int(i) for i in args.ids.replace(",", " ").split()]
    else:
        ids = ([] if args.no_bos else [spm.bos]) + spm.encode(args.prompt or "")
    print("ids", *ids)
    logits = model.forward(ids, {})
    if args.logits:
        logits.astype("<f8").tofile(args.logits)
    for i in np.argsort(-logits[-1], kind="stable")[:args.top]:
        print("%6d  %12.6f  %s" % (i, logits[-1, i], repr(spm.tokens[i]) if spm else ""))
    if args.n:
        out = greedy(model, ids, args.n, gguf.meta.get("tokenizer.ggml.eos_token_id", -1))
        print("generated", *out)
        if spm:
            print(spm.decode(ids[0 if args.no_bos else 1:] + out))


if __name__ == "__main__":
    main()
