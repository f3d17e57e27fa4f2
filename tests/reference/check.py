#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of the reference itself: against known texts, known token numbers, and
formulas written a second way.  Run with /usr/bin/python3 (needs numpy; torch
for one test).  Files of others are looked for in $NPU_TEST_MODELS or
../shared/models beside the project; without them those tests are skipped.
"""
import glob
import os
import sys
import tempfile
import unittest

try:
    import numpy as np
except ImportError:
    print("no numpy for %s: apt-get install python3-numpy" % sys.executable)
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "../..")
sys.path.insert(0, os.path.join(ROOT, "tools/train"))
import convert                                  # noqa: E402
import gguf                                     # noqa: E402
import make_random                              # noqa: E402
from forward import Model, greedy, perplexity, round_activations   # noqa: E402
from gguf_file import WIDEN, Gguf, f16          # noqa: E402
from spm import Spm                             # noqa: E402

MODELS = os.environ.get("NPU_TEST_MODELS", os.path.join(ROOT, "../shared/models"))
BUNDLED = sorted(glob.glob(os.path.join(ROOT, "models/*.gguf")))
LILY = (", there was a little girl named Lily. She loved to play outside in the %s. "
        "One day, she saw a big, red ball")


def model_file(name):
    path = os.path.join(MODELS, name)
    if not os.path.exists(path):
        raise unittest.SkipTest("no %s in %s" % (name, MODELS))
    return path


def random_file(directory, shape, kind, **changes):
    s = dict(make_random.SHAPES[shape], **changes)
    path = os.path.join(directory, "%s-%s.gguf" % (shape, kind))
    w, rnd = gguf.Writer(path), make_random.Random(7)
    make_random.metadata(w, s, shape, kind)
    table = make_random.tensors(s, kind, kind)
    for t in table:
        w.announce(*t[:3])
    w.begin_data()
    for _, dims, k, std in table:
        n = int(np.prod(dims))
        rnd.tensor(w, k, n, std if std is not None else 1)     # norm weights random too
    w.close()
    return path


class KnownTexts(unittest.TestCase):
    def continues(self, name, text, n):
        g = Gguf(model_file(name))
        spm, model = Spm(g.meta), Model(g)
        ids = [spm.bos] + spm.encode("Once upon a time")
        self.assertIn(text, spm.decode(greedy(model, ids, n, spm.eos), first=False))

    def test_stories260k(self):
        self.continues("stories260K-f32.gguf", LILY % "park" + ". She wanted to play with it, "
                       "but it was too high.\nLily's mom said, \"Lily, let's go to the park.\"", 100)

    def test_stories15m_q8_0(self):
        self.continues("stories15M-Q8_0.gguf", LILY % "sunshine" + " in the sky. It was the sun! "
                       "She thought it was so pretty.\n", 50)

    def test_llama_tokens(self):
        path = model_file("ggml-vocab-llama-spm.gguf")
        spm = Spm(Gguf(path).meta)
        with open(path + ".inp", encoding="utf-8", newline="") as f:
            texts = f.read().split("\n__ggml_vocab_test__\n")
        with open(path + ".out", encoding="utf-8") as f:
            lines = f.read().split("\n")[:len(texts)]
        for text, line in zip(texts, lines):
            self.assertEqual(spm.encode(text), [int(i) for i in line.split()], repr(text))


class Types(unittest.TestCase):
    """Each type against one element at a time, as its layout is described."""
    def setUp(self):
        self.rng = np.random.default_rng(1)

    def blocks(self, n, size, *scales):
        b = self.rng.integers(0, 256, (n, size), np.uint8)
        for at in scales:
            b[:, at:at + 2] = self.rng.normal(0, 0.1, n).astype("<f2").view(np.uint8).reshape(n, 2)
        return b

    def same(self, kind, b, element):
        got = WIDEN[kind](b.reshape(-1)).reshape(len(b), -1)
        for block, row in zip(b, got):
            for i, v in enumerate(row):
                self.assertAlmostEqual(v, element(block, i), 12)

    def test_q4_0(self):
        self.same("Q4_0", self.blocks(4, 18, 0), lambda b, i:
                  f16(b[:2])[0] * ((int(b[2 + i % 16]) >> 4 * (i // 16) & 15) - 8))

    def test_q8_0(self):
        self.same("Q8_0", self.blocks(4, 34, 0), lambda b, i:
                  f16(b[:2])[0] * (int(b[2 + i]) ^ 128) - f16(b[:2])[0] * 128)

    def test_q4_k(self):
        def element(b, i):
            s, j = [int(v) for v in b[4:16]], i // 32
            if j < 4:
                scale, least = s[j] & 63, s[j + 4] & 63
            else:
                scale = s[j + 4] & 15 | s[j - 4] >> 6 << 4
                least = s[j + 4] >> 4 | s[j] >> 6 << 4
            q = int(b[16 + i // 64 * 32 + i % 32]) >> 4 * (i // 32 % 2) & 15
            return f16(b[:2])[0] * scale * q - f16(b[2:4])[0] * least
        self.same("Q4_K", self.blocks(4, 144, 0, 2), element)

    def test_q6_k(self):
        def element(b, i):
            half, quarter, l = i // 128, i // 32 % 4, i % 32
            low = int(b[half * 64 + quarter % 2 * 32 + l]) >> 4 * (quarter // 2) & 15
            high = int(b[128 + half * 32 + l]) >> 2 * quarter & 3
            scale = int(b[192:208].view(np.int8)[i // 16])
            return f16(b[208:210])[0] * scale * ((low | high << 4) - 32)
        self.same("Q6_K", self.blocks(4, 210, 208), element)

    def test_encoders(self):
        x = self.rng.normal(0, 1, 256 * 50).astype(np.float32)
        # Largest and mean error of a block of 32, relative to its largest value.  Types whose
        # range is not symmetric (-8 to 7, -32 to 31) clip one end by up to a step.
        for kind, largest, mean in (("F32", 0, 0), ("F16", 5e-4, 4e-4), ("BF16", 4e-3, 3e-3),
                                    ("Q8_0", 5e-3, 4e-3), ("Q6_K", 0.04, 0.02),
                                    ("Q4_K", 0.12, 0.06), ("Q4_0", 0.126, 0.09)):
            y = WIDEN[kind](np.frombuffer(convert.encode(x, kind), np.uint8)).reshape(-1)
            error = np.abs(x - y).reshape(-1, 32).max(1) / np.abs(x).reshape(-1, 32).max(1)
            self.assertLessEqual(error.max(), largest, kind)
            self.assertLessEqual(error.mean(), mean, kind)

    def test_activations(self):
        x = self.rng.normal(0, 3, (5, 512))
        x[0, :32] = 0
        for block in (32, 256):
            y = round_activations(x, block)
            step = np.abs(x).reshape(5, -1, block).max(-1, keepdims=True) / 127
            error = np.abs(x - y).reshape(5, -1, block)
            self.assertTrue((error <= step * 0.5001).all())
            self.assertFalse(y[0, :32].any())


class Forward(unittest.TestCase):
    def test_pieces_equal_whole(self):
        """A KV cache filled in pieces gives what one pass over all tokens gives."""
        with tempfile.TemporaryDirectory() as d:
            for shape in ("tiny-llama", "tiny-qwen2", "tiny-qwen3"):
                model = Model(Gguf(random_file(d, shape, "F16")))
                ids = [3, 141, 59, 265, 358, 9, 79, 323, 84]
                whole, state = model.forward(ids, {}), {}
                parts = np.concatenate([model.forward(p, state) for p in (ids[:1], ids[1:6], ids[6:])])
                self.assertLess(np.abs(whole - parts).max(), 1e-9)
                self.assertGreater(whole.std(), 0.1)

    def test_rope_is_relative(self):
        with tempfile.TemporaryDirectory() as d:
            for shape in ("tiny-llama", "tiny-qwen3"):
                model = Model(Gguf(random_file(d, shape, "F16")))
                x = np.random.default_rng(2).normal(size=(2, 1, model.head_dim))
                a = model.rope(x, np.array([5, 3]))
                b = model.rope(x, np.array([105, 103]))
                self.assertAlmostEqual((a[0] * a[1]).sum(), (b[0] * b[1]).sum(), 9)
                self.assertNotAlmostEqual((a[0] * a[1]).sum(), (x[0] * x[1]).sum(), 3)

    def test_rope_layouts(self):
        """Interleaved pairs are half-split pairs with the elements in another order."""
        with tempfile.TemporaryDirectory() as d:
            model = Model(Gguf(random_file(d, "tiny-llama", "F16")))
            n = model.head_dim
            order = [i // 2 + i % 2 * (n // 2) for i in range(n)]     # even places, then odd ones
            x = np.random.default_rng(4).normal(size=(3, 2, n))
            at = np.array([0, 1, 77])
            interleaved = model.rope(x[..., order], at)
            model.arch = "qwen2"
            np.testing.assert_allclose(interleaved, model.rope(x, at)[..., order], atol=1e-12)
            np.testing.assert_allclose(interleaved[0], x[0][..., order])

    def test_against_training(self):
        """The model as it is trained (torch) and as GGUF holds it are the same function."""
        try:
            import torch
        except ImportError:
            raise unittest.SkipTest("no torch")
        import export
        import model as training
        import tokenizer
        cfg = training.Config(vocab=320, dim=64, layers=2, heads=4, kv_heads=2, ffn=96,
                              context=32, tied=False)
        params = training.init(cfg)
        with torch.no_grad():
            for t in params.values():
                t.add_(torch.randn(t.shape) * 0.1)
        tok = tokenizer.Tokenizer(["t%d" % i for i in range(320)], [0.0] * 320, [1] * 320)
        with tempfile.TemporaryDirectory() as d:
            w = gguf.Writer(os.path.join(d, "m.gguf"))
            export.metadata(w, cfg, tok, "F32")
            for k, t in params.items():
                w.announce(k + ".weight", tuple(t.shape), "F32")
            w.begin_data()
            for t in params.values():
                w.write(gguf.encode(t.detach().numpy(), "F32"))
            w.close()
            model = Model(Gguf(os.path.join(d, "m.gguf")))
            ids = [int(i) for i in np.random.default_rng(3).integers(0, 320, 20)]
            with torch.no_grad():
                h = training.forward(cfg, params, torch.tensor([ids]), fast=False)
                want = (h @ params["output"].t()).numpy()
            self.assertLess(np.abs(model.forward(ids, {}) - want).max(), 1e-4)


@unittest.skipUnless(BUNDLED, "no bundled model")
class Bundled(unittest.TestCase):
    TEXT = ("Once upon a time there was a little girl who lived with her mother in a "
            "cottage by the forest. One morning her mother said to her, \"Take this "
            "basket of cakes to your grandmother, for she is ill.\" So the girl put on "
            "her cloak and went out into the wood.\nCaf\u00e9s, 7 of them!")

    def setUp(self):
        self.gguf = Gguf(BUNDLED[0])
        self.spm = Spm(self.gguf.meta)

    def test_tokens_as_in_training(self):
        import tokenizer
        tok = tokenizer.Tokenizer(self.spm.tokens, self.spm.scores, self.spm.types)
        for text in (self.TEXT, " two  spaces ", "\n\n", "don't--'so', \"I've\"", "\u4f60\u597d"):
            ids = self.spm.encode(text)
            self.assertEqual(ids, tok.encode(text), repr(text))
            self.assertEqual(self.spm.decode(ids), text)

    def test_it_has_learned(self):
        model, ids = Model(self.gguf), self.spm.encode(self.TEXT)
        exact, _ = perplexity(model, ids, self.spm.bos, 256)
        rounded, _ = perplexity(Model(self.gguf, "quantised", "f16"), ids, self.spm.bos, 256)
        bits = exact * len(ids) / len(self.TEXT.encode()) / np.log(2)
        self.assertLess(bits, 1.9)
        self.assertLess(abs(rounded - exact), 0.02)


if __name__ == "__main__":
    unittest.main()
