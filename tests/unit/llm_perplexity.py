#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Perplexity of the bundled model on a text that it has not seen, by weight type.

usage: llm_perplexity.py NPU

Q8_0 within 1 % of F16, Q4_0 and Q4_K within 5 %; and the file as it is gives the
perplexity of double arithmetic (tests/reference) within 0.1 %.
"""
import glob
import json
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
REFERENCE = os.path.join(HERE, "../reference")
TEXT = os.path.join(REFERENCE, "corpus/story.txt")
CONTEXT, TOKENS = 256, 500
LIMITS = {"Q8_0": 0.01, "Q4_0": 0.05, "Q4_K": 0.05}
sys.path.insert(0, REFERENCE)
from forward import Model, perplexity                           # noqa: E402
from gguf_file import Gguf                                      # noqa: E402
from spm import Spm                                             # noqa: E402


def on_device(npu, model):
    out = subprocess.run([npu, "run", "-m", model, "--perplexity", TEXT, "--json", "--quiet",
                          "-c", str(CONTEXT), "--max-tokens", str(TOKENS)],
                         check=True, timeout=120, stdout=subprocess.PIPE).stdout
    return json.loads(out)["perplexity"]


def in_double(model):
    gguf = Gguf(model)
    spm = Spm(gguf.meta)
    with open(TEXT, encoding="utf-8") as f:
        ids = spm.encode(f.read())[:TOKENS]
    return float(np.exp(perplexity(Model(gguf, "quantised", "f16"), ids, spm.bos, CONTEXT)[0]))


def main():
    npu = os.path.abspath(sys.argv[1])
    models = sorted(glob.glob(os.path.join(HERE, "../../models/*.gguf")))
    if not models:
        print("1..0 # SKIP no model in models/")
        return 0
    failed = 0

    def check(n, name, got, want, limit):
        nonlocal failed
        ok = abs(got / want - 1) <= limit
        failed += not ok
        print("%sok %d - %s: %.4f beside %.4f" % ("" if ok else "not ", n, name, got, want),
              flush=True)

    print("1..%d" % (1 + len(LIMITS)))
    check(1, "as it is, beside double arithmetic", on_device(npu, models[0]),
          in_double(models[0]), 0.001)
    with tempfile.TemporaryDirectory() as folder:
        def converted(kind):
            path = os.path.join(folder, kind + ".gguf")
            subprocess.run([sys.executable, os.path.join(REFERENCE, "convert.py"), models[0], path,
                            "--type", kind], check=True, stdout=subprocess.DEVNULL)
            return on_device(npu, path)

        base = converted("F16")
        for n, (kind, limit) in enumerate(LIMITS.items(), 2):
            check(n, kind + " beside F16", converted(kind), base, limit)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
