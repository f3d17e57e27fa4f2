#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Trains the bundled model; the same command resumes where it stopped.

usage: train.py --until HH:MM [--decay-minutes 55] [--long-minutes 30] [--dir DIR]

The learning rate stays constant and falls linearly to zero over the last
--decay-minutes before --until (local time).  The state before the fall is kept
as last.pt, and the next run goes on from there; the state after it is
final.pt, for export.  Matrices are trained with Muon (momentum, then the
update made orthogonal by Newton-Schulz), the rest with AdamW.
"""
import argparse
import dataclasses
import datetime
import json
import os
import time

import numpy as np
import torch

import model
from prepare import CACHE

CHUNK = 512                        # tokens; the data are shuffled in chunks of this size
TOKENS_PER_STEP = 4096


class Data:
    """Every chunk once per epoch, in an order and at an offset drawn per epoch."""
    def __init__(self, path, cursor):
        self.ids = torch.from_numpy(np.fromfile(path, np.uint16).astype(np.int64))
        self.per_epoch = len(self.ids) // CHUNK - 2
        self.cursor, self.epoch = cursor, -1

    def next(self, chunks, length):
        out = []
        for _ in range(chunks):
            epoch, i = divmod(self.cursor, self.per_epoch)
            if epoch != self.epoch:
                g = np.random.default_rng(epoch)
                self.order = g.permutation(self.per_epoch)
                self.offset, self.epoch = int(g.integers(CHUNK)), epoch
            at = self.offset + int(self.order[i]) * CHUNK
            for j in range(at, at + CHUNK, length):
                out.append(self.ids[j:j + length + 1])
            self.cursor += 1
        return torch.stack(out)


def orthogonal(g):
    """The nearest semi-orthogonal matrix, roughly: five quintic Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[0] > g.shape[1]
    x = (g.t() if tall else g).bfloat16()
    x = x / (x.float().norm() + 1e-7).bfloat16()
    for _ in range(5):
        y = x @ x.t()
        x = a * x + (b * y + c * (y @ y)) @ x
    return (x.t() if tall else x).float()


class Optimizer:
    def __init__(self, params, args):
        self.p, self.args = params, args
        self.state = {k: {} for k in params}

    def is_muon(self, k):
        return k.startswith("blk.") and self.p[k].dim() == 2

    @torch.no_grad()
    def step(self, n, scale):
        a = self.args
        norm = torch.sqrt(sum((t.grad * t.grad).sum() for t in self.p.values()))
        clip = min(1.0, a.clip / (float(norm) + 1e-6))
        for k, w in self.p.items():
            g, s = w.grad.mul_(clip), self.state[k]
            if self.is_muon(k):
                m = s.setdefault("m", torch.zeros_like(w))
                m.lerp_(g, 1 - 0.95)
                u = orthogonal(g.lerp(m, 0.95))
                lr = a.muon_lr * scale
                w.mul_(1 - lr * a.muon_decay)
                w.add_(u, alpha=-lr * max(1, w.shape[0] / w.shape[1]) ** 0.5)
            else:
                m = s.setdefault("m", torch.zeros_like(w))
                v = s.setdefault("v", torch.zeros_like(w))
                m.lerp_(g, 1 - 0.9)
                v.lerp_(g * g, 1 - 0.98)
                rate = {"token_embd": a.embd_lr, "output": a.output_lr}.get(k, a.norm_lr)
                if k == "output_norm" and a.tied:
                    rate *= 0.04
                d = (v / (1 - 0.98 ** n)).sqrt_().add_(1e-10)
                w.addcdiv_(m / (1 - 0.9 ** n), d, value=-rate * scale)
            w.grad = None
        return float(norm)


@torch.no_grad()
def held_out(cfg, p, ids, length, windows=40):
    """Nats per token on evenly spread windows."""
    at = np.linspace(0, len(ids) - length - 2, windows).astype(int)
    total = 0.0
    for group in np.array_split(at, max(1, windows * length // 2048)):
        batch = torch.stack([ids[i:i + length + 1] for i in group])
        total += float(model.loss(cfg, p, batch)) * len(group)
    return total / windows


def save(path, **state):
    torch.save(state, path + ".tmp")
    os.replace(path + ".tmp", path)


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--until", help="local time HH:MM; none: --steps")
    ap.add_argument("--steps", type=int, default=0)
    ap.add_argument("--decay-minutes", type=float, default=55)
    ap.add_argument("--long-minutes", type=float, default=30,
                    help="time before the end in which windows have --long-length tokens")
    ap.add_argument("--dir", default=CACHE)
    ap.add_argument("--run", default="run", help="subdirectory for the states")
    ap.add_argument("--tied", action="store_true", help="one matrix for input and output")
    ap.add_argument("--layers", type=int, default=6)
    ap.add_argument("--length", type=int, default=256)
    ap.add_argument("--long-length", type=int, default=512)
    ap.add_argument("--muon-lr", type=float, default=0.02)
    ap.add_argument("--muon-decay", type=float, default=0.1)
    ap.add_argument("--embd-lr", type=float, default=0.2)
    ap.add_argument("--output-lr", type=float, default=0.006)
    ap.add_argument("--norm-lr", type=float, default=0.003)
    ap.add_argument("--clip", type=float, default=1.0)
    ap.add_argument("--threads", type=int, default=1)
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    run = os.path.join(args.dir, args.run)
    os.makedirs(run, exist_ok=True)
    last = os.path.join(run, "last.pt")

    step = tokens = cursor = 0
    if os.path.exists(last):
        st = torch.load(last)
        cfg = model.Config(**st["cfg"])
        args.tied = cfg.tied
        p = {k: t.requires_grad_(True) for k, t in st["p"].items()}
        step, tokens, cursor, ema = st["step"], st["tokens"], st["cursor"], st["ema"]
    else:
        cfg = model.Config(tied=args.tied, layers=args.layers)
        p = model.init(cfg)
        ema = {k: t.detach().clone() for k, t in p.items()}
        st = {}
    opt = Optimizer(p, args)
    if st:
        opt.state = st["opt"]
    data = Data(os.path.join(args.dir, "train.u16"), cursor)
    held = torch.from_numpy(np.fromfile(os.path.join(args.dir, "held.u16"),
                                        np.uint16).astype(np.int64))
    log = open(os.path.join(run, "log.jsonl"), "a", buffering=1)
    print("%d parameters, %d tokens, from step %d" %
          (sum(t.numel() for t in p.values()), len(data.ids), step), flush=True)

    def state():
        return dict(cfg=dataclasses.asdict(cfg), p={k: t.detach() for k, t in p.items()},
                    ema=ema, opt=opt.state, step=step, tokens=tokens, cursor=data.cursor)

    end = None
    if args.until:
        now = datetime.datetime.now()
        h, m = map(int, args.until.split(":"))
        end = now.replace(hour=h, minute=m, second=0)
        if end < now:
            end += datetime.timedelta(days=1)
        end = time.time() + (end - now).total_seconds()
    saved = reported = time.time()
    cpu = time.process_time()
    recent, decaying, since = [], False, tokens
    first = step
    while True:
        scale, length = 1.0, args.length
        if end:
            left = (end - time.time()) / (60 * args.decay_minutes)
            if left <= 0:
                break
            if left < 1 and not decaying:
                decaying = True
                save(last, **state())
                print("learning rate falls from step %d" % step, flush=True)
            scale = min(1.0, left)
            if left * args.decay_minutes < args.long_minutes:
                length = args.long_length
        elif step - first >= args.steps:
            break
        scale *= min(1.0, (step + 1) / 40)
        batch = data.next(TOKENS_PER_STEP // CHUNK, length)
        micro = batch.split(2048 // length)
        total = 0.0
        for m in micro:
            l = model.loss(cfg, p, m) / len(micro)
            l.backward()
            total += float(l)
        step += 1
        tokens += TOKENS_PER_STEP
        norm = opt.step(step, scale)
        with torch.no_grad():
            mix = 1 - min(0.99, step / (step + 10))
            for k, t in p.items():
                ema[k].lerp_(t, mix)
        recent.append(total)
        if not np.isfinite(total):
            raise SystemExit("the loss is not finite at step %d: lower the rates" % step)
        if step % 50 == 0:
            now = time.time()
            row = dict(step=step, tokens=tokens, epoch=data.cursor / data.per_epoch,
                       loss=float(np.mean(recent)), norm=norm, scale=scale,
                       tokens_s=(tokens - since) / (now - reported),
                       tokens_cpu_s=(tokens - since) / (time.process_time() - cpu))
            if step % 250 == 0:
                row["held_ema"] = held_out(cfg, ema, held, length)
            log.write(json.dumps(row) + "\n")
            print(" ".join("%s=%.4g" % kv if kv[0] not in ("step", "tokens") else "%s=%d" % kv
                           for kv in row.items()), flush=True)
            recent, reported, since, cpu = [], time.time(), tokens, time.process_time()
        if time.time() - saved > 180:
            save(last if not decaying else os.path.join(run, "decaying.pt"), **state())
            saved = time.time()
    if decaying:
        save(os.path.join(run, "final.pt"), **state())
    else:
        save(last, **state())
    p_held = held_out(cfg, p, held, args.long_length if decaying else args.length)
    print("end: step %d, %d tokens, held-out nats/token %.4f (average %.4f)" %
          (step, tokens, p_held, held_out(cfg, ema, held, args.length)), flush=True)


if __name__ == "__main__":
    main()
