# SPDX-License-Identifier: MIT
"""The llama architecture for training on a CPU: RMSNorm, RoPE, grouped-query
attention, SwiGLU.  RoPE turns interleaved pairs (2i, 2i + 1),
the layout of GGUF's "llama" architecture, so export needs no permutation.
"""
import dataclasses
import math

import torch
import torch.nn.functional as F


@dataclasses.dataclass
class Config:
    vocab: int = 4096
    dim: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 768
    context: int = 512
    rope_base: float = 10000.0
    eps: float = 1e-5
    tied: bool = False

    @property
    def head_dim(self):
        return self.dim // self.heads


def init(cfg, seed=1):
    """Name -> parameter, named as in GGUF; matrices are (out, in)."""
    g = torch.Generator().manual_seed(seed)

    def normal(rows, cols, std):
        return torch.randn(rows, cols, generator=g) * std

    d, kv = cfg.dim, cfg.kv_heads * cfg.head_dim
    # Inputs of size 1 beside the blocks' outputs.  A tied matrix is an output matrix
    # too, where its size is made up for by a small output_norm.
    p = {"token_embd": normal(cfg.vocab, d, 0.5 if cfg.tied else 1.0)}
    for n in range(cfg.layers):
        b = "blk.%d." % n
        std = 0.5 / math.sqrt(d)
        p[b + "attn_norm"] = torch.ones(d)
        p[b + "attn_q"] = normal(d, d, std)
        p[b + "attn_k"] = normal(kv, d, std)
        p[b + "attn_v"] = normal(kv, d, std)
        p[b + "attn_output"] = torch.zeros(d, d)
        p[b + "ffn_norm"] = torch.ones(d)
        p[b + "ffn_gate"] = normal(cfg.ffn, d, std)
        p[b + "ffn_up"] = normal(cfg.ffn, d, std)
        p[b + "ffn_down"] = torch.zeros(d, cfg.ffn)
    p["output_norm"] = torch.ones(d) * (0.04 if cfg.tied else 1.0)
    if not cfg.tied:
        p["output"] = normal(cfg.vocab, d, 0.02)
    for t in p.values():
        t.requires_grad_(True)
    return p


class Linear(torch.autograd.Function):
    """x w^T with operands rounded to bfloat16 and sums in F32: about twice as
    fast as F32 where the CPU has AVX512-BF16.  Weights and gradients stay F32.
    """
    @staticmethod
    def forward(ctx, x, w):
        x, w = x.bfloat16(), w.bfloat16()
        ctx.save_for_backward(x, w)
        return (x @ w.t()).float()

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dy = dy.bfloat16()
        return (dy @ w).float(), (dy.t() @ x).float()


class Attend(torch.autograd.Function):
    """softmax(mask + q k^T / sqrt(d)) v, batched over KV heads; bfloat16 products."""
    @staticmethod
    def forward(ctx, q, k, v, mask):
        ctx.scale = 1 / math.sqrt(q.shape[-1])
        q, k, v = (q * ctx.scale).bfloat16(), k.bfloat16(), v.bfloat16()
        s = torch.bmm(q, k.transpose(1, 2)).float().add_(mask)
        s = torch.softmax(s, -1)
        sb = s.bfloat16()
        ctx.save_for_backward(q, k, v, sb)
        return torch.bmm(sb, v).float()

    @staticmethod
    def backward(ctx, do):
        q, k, v, sb = ctx.saved_tensors
        do = do.bfloat16()
        dv = torch.bmm(sb.transpose(1, 2), do).float()
        ds = torch.bmm(do, v.transpose(1, 2)).float()
        ds = torch._softmax_backward_data(ds, sb.float(), -1, torch.float32).bfloat16()
        dq = torch.bmm(ds, k).float().mul_(ctx.scale)
        dk = torch.bmm(ds.transpose(1, 2), q).float()
        return dq, dk, dv, None


class RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, eps):
        r = torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)
        h = x * r
        ctx.save_for_backward(h, r, w)
        return h * w

    @staticmethod
    def backward(ctx, dy):
        h, r, w = ctx.saved_tensors
        dw = (dy * h).sum(0)
        dy = dy * w
        c = (dy * h).mean(-1, keepdim=True)
        return torch.addcmul(dy, h, c, value=-1).mul_(r), dw, None


class SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, g, u):
        s = torch.sigmoid(g)
        y = g * s
        ctx.save_for_backward(g, u, s)
        return y.mul_(u)

    @staticmethod
    def backward(ctx, dy):
        g, u, s = ctx.saved_tensors
        gs = g * s
        du = dy * gs
        # d(g s)/dg = s + g s (1 - s)
        dg = torch.addcmul(gs, gs, s, value=-1).add_(s).mul_(u).mul_(dy)
        return dg, du


class Rope(torch.autograd.Function):
    """x: (batch, heads, time, head_dim), rotated by position."""
    @staticmethod
    def forward(ctx, x, rot):
        ctx.rot = rot
        y = torch.view_as_complex(x.contiguous().view(*x.shape[:-1], -1, 2)) * rot
        return torch.view_as_real(y).view(x.shape)

    @staticmethod
    def backward(ctx, dy):
        y = torch.view_as_complex(dy.contiguous().view(*dy.shape[:-1], -1, 2)) * ctx.rot.conj()
        return torch.view_as_real(y).view(dy.shape), None


def rotations(cfg, time):
    f = cfg.rope_base ** (-torch.arange(0, cfg.head_dim, 2).double() / cfg.head_dim)
    a = torch.outer(torch.arange(time).double(), f)
    return torch.polar(torch.ones_like(a), a).to(torch.complex64)


def attend_f32(q, k, v, mask):
    s = torch.bmm(q, k.transpose(1, 2)) / math.sqrt(q.shape[-1])
    return torch.bmm(torch.softmax(s + mask, -1), v)


def forward(cfg, p, ids, fast=True):
    """ids: (batch, time) -> hidden states before the output matrix, (batch * time, dim)."""
    B, T = ids.shape
    H, K, D = cfg.heads, cfg.kv_heads, cfg.head_dim
    linear = Linear.apply if fast else F.linear
    attend = Attend.apply if fast else attend_f32
    rot = rotations(cfg, T)
    mask = torch.full((T, T), -1e30).triu_(1).repeat(H // K, 1)
    x = F.embedding(ids.reshape(-1), p["token_embd"])
    for n in range(cfg.layers):
        b = "blk.%d." % n
        h = RMSNorm.apply(x, p[b + "attn_norm"], cfg.eps)
        q = linear(h, p[b + "attn_q"]).view(B, T, H, D).transpose(1, 2)
        k = linear(h, p[b + "attn_k"]).view(B, T, K, D).transpose(1, 2)
        v = linear(h, p[b + "attn_v"]).view(B, T, K, D).transpose(1, 2)
        q, k = Rope.apply(q, rot), Rope.apply(k, rot)
        # The H / K queries of a group follow each other in time: one matrix product per KV head.
        q = q.reshape(B * K, H // K * T, D)
        o = attend(q, k.reshape(B * K, T, D), v.reshape(B * K, T, D), mask)
        o = o.view(B, H, T, D).transpose(1, 2).reshape(B * T, H * D)
        x = x + linear(o, p[b + "attn_output"])
        h = RMSNorm.apply(x, p[b + "ffn_norm"], cfg.eps)
        h = SwiGLU.apply(linear(h, p[b + "ffn_gate"]), linear(h, p[b + "ffn_up"]))
        x = x + linear(h, p[b + "ffn_down"])
    return RMSNorm.apply(x, p["output_norm"], cfg.eps)


def loss(cfg, p, ids, fast=True):
    """ids: (batch, time + 1) -> mean cross-entropy in nats of ids[:, 1:]."""
    h = forward(cfg, p, ids[:, :-1], fast)
    linear = Linear.apply if fast else F.linear
    return F.cross_entropy(linear(h, p["token_embd" if cfg.tied else "output"]), ids[:, 1:].reshape(-1))
