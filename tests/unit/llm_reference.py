#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Logits of `npu run` against the double-precision forward pass of tests/reference.

usage: llm_reference.py NPU

F32 and F16 weights: every logit within 1e-3. Quantised weights: the reference
rounds activations as the device does, but in double, so that now and then one
falls to the other side of a step, and from there on all that follows differs by
the noise of the quantisation. So short sequences are compared, each from its
begin: where nothing fell, logits agree within 1e-3, and that must be a good
part of them (a wrong scale or a swapped block would leave none); the others
stay within that noise. On the device's own operands nothing falls:
tests/reference/check_operands.py compares these closely.
"""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("1..0 # SKIP no numpy for %s: apt-get install python3-numpy" % sys.executable)
    sys.exit(0)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../reference"))
from forward import Model                                       # noqa: E402
from gguf_file import Gguf                                      # noqa: E402

BOUND, NOISE, SEQUENCES, AGREE = 1e-3, 0.25, 12, 0.2
# Rows of a Q4_0 embedding hold half of their largest element, which lies in the middle between
# two steps of the activations; so the embedding (tied to the output here) has another type.
OUTPUT = {"Q4_0": "Q8_0"}
CASES = [(shape, kind) for shape in ("tiny-llama", "tiny-qwen2", "tiny-qwen3")
         for kind in ("F32", "F16")]
CASES += [("tiny-llama", "Q8_0"), ("tiny-qwen2", "Q4_0"), ("tiny-qwen2", "Q4_K"),
          ("tiny-qwen3", "Q6_K"), ("tiny-qwen3", "Q8_0")]


def device_logits(npu, model, ids, folder, vocab):
    out = os.path.join(folder, "logits")
    subprocess.run([npu, "run", "-m", model, "--ids", " ".join(map(str, ids)), "--logits", out,
                    "--quiet"], check=True, timeout=120)
    return np.fromfile(out, "<f4").reshape(-1, vocab).astype(float)


def differences(npu, path, sequences, folder):
    model = Model(Gguf(path), "quantised", "f16")
    for ids in sequences:
        want = model.forward(ids, {})
        yield np.abs(device_logits(npu, path, ids, folder, want.shape[1]) - want).max()


def check(npu, shape, kind, folder):
    path = os.path.join(folder, "%s-%s.gguf" % (shape, kind))
    subprocess.run([sys.executable, os.path.join(HERE, "../reference/make_random.py"), shape,
                    "--type", kind, "--output-type", OUTPUT.get(kind, kind), "--out", path], check=True, stdout=subprocess.DEVNULL)
    exact = kind in ("F32", "F16")
    if exact:
        sequences = [[(i * 37 + 5) % 500 for i in range(40)]]
    else:
        sequences = [[(n * 53 + 11) % 500, (n * 29 + 3) % 500] for n in range(SEQUENCES)]
    worst = sorted(differences(npu, path, sequences, folder))
    agree = sum(d <= BOUND for d in worst) / len(worst)
    os.unlink(path)
    ok = agree == 1 if exact else agree >= AGREE and worst[-1] <= NOISE
    return ok, "%s %s: %d of %d sequences within %g, worst %.2g" % (
        shape, kind, agree * len(worst), len(worst), BOUND, worst[-1])


def main():
    npu, failed = os.path.abspath(sys.argv[1]), 0
    print("1..%d" % len(CASES))
    with tempfile.TemporaryDirectory() as folder:
        for i, (shape, kind) in enumerate(CASES, 1):
            ok, text = check(npu, shape, kind, folder)
            print("%sok %d - %s" % ("" if ok else "not ", i, text), flush=True)
            failed += not ok
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
