#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Logits of quantised models: the software device beside double arithmetic on the
same quantised operands, 1e-3 apart at most, for prompts and for decoding.

usage: check_operands.py RECORD_OPERANDS

RECORD_OPERANDS writes down what a device multiplied (record_operands.c); forward.py
computes with it, after checking each operand against its own (operands.py).
Models of others are looked for in $NPU_TEST_MODELS or ../shared/models.
"""
import glob
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("1..0 # SKIP no numpy for %s: apt-get install python3-numpy" % sys.executable)
    sys.exit(0)

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "../..")
sys.path.insert(0, os.path.join(ROOT, "tools/train"))
import gguf                                                     # noqa: E402
import make_random                                              # noqa: E402
from forward import Model                                       # noqa: E402
from gguf_file import Gguf                                      # noqa: E402
from operands import Mismatch, Recording, replay                # noqa: E402

BOUND = 1e-3
PROMPT, TOKENS, CHUNK = 40, 16, 16
VOCAB = 707             # of random models: the last tile is not full
MODELS = os.environ.get("NPU_TEST_MODELS", os.path.join(ROOT, "../shared/models"))
# Of files that mix types as others quantise them: which matrices have another one. Where matrices
# with the same input have two types, they are products of their own; where those take different
# blocks, the device rounds the activations itself, from F32.
K_MIX = {"attn_v": "Q6_K", "ffn_down": "Q6_K"}
WIDE_MIX = {"attn_k": "Q6_K", "ffn_up": "Q8_0", "attn_output": "F16"}
RANDOM = [(shape, kind, output, mix)
          for shape in ("tiny-llama", "tiny-qwen2", "tiny-qwen3")
          for kind, output, mix in (("Q8_0", "Q8_0", {}), ("Q4_0", "Q6_K", {}),
                                    ("Q4_K", "Q6_K", K_MIX), ("Q4_0", "F16", WIDE_MIX))]


def random_model(folder, shape, kind, output, mix):
    s = dict(make_random.SHAPES[shape], vocab=VOCAB)
    path = os.path.join(folder, "%s-%s-%s%s.gguf" % (shape, kind, output, "-mix" if mix else ""))
    w, rnd = gguf.Writer(path), make_random.Random(5)
    make_random.metadata(w, s, shape, kind)
    table = [(name, dims, mix.get(name.split(".")[-2], k) if name.endswith(".weight") else k, std)
             for name, dims, k, std in make_random.tensors(s, kind, output)]
    for t in table:
        w.announce(*t[:3])
    w.begin_data()
    for _, dims, k, std in table:
        rnd.tensor(w, k, int(np.prod(dims)), 1 if std is None else std)    # norms random too
    w.close()
    return path


def record(tool, model, out, vocab, tokens=TOKENS, chunk=0):
    ids = [(i * 37 + 5) % vocab for i in range(PROMPT)]
    subprocess.run([tool, model, out, " ".join(map(str, ids)), str(tokens), str(chunk)],
                   check=True, timeout=120)


def differences(model, path):
    """Largest difference of each row of logits, and what was seen of the operands."""
    model.recording = model.operands = Recording(path)
    return [np.abs(a - b).max() for a, b in replay(model)], model.recording.stats


class Tap:
    def __init__(self):
        self.n, self.failed = 0, 0

    def result(self, ok, text):
        self.n += 1
        self.failed += not ok
        print("%sok %d - %s" % ("" if ok else "not ", self.n, text), flush=True)

    def skip(self, text):
        self.n += 1
        print("ok %d - # SKIP %s" % (self.n, text), flush=True)


def check(tap, tool, path, folder):
    name, model = os.path.basename(path), Model(Gguf(path))
    vocab = len(model.gguf.meta["tokenizer.ggml.tokens"])
    out = os.path.join(folder, "record")
    for what, tokens, chunk in (("prompt, decode", TOKENS, 0), ("prompt in chunks", 0, CHUNK),
                                ("prompt row by row", 0, 1)):
        record(tool, path, out, vocab, tokens, chunk)
        try:
            worst, stats = differences(model, out)
        except Mismatch as e:
            tap.result(False, "%s, %s: %s" % (name, what, e))
            continue
        largest = np.max(worst, initial=0)              # a NaN stays one, and fails
        tap.result(len(worst) == 1 + tokens and largest <= BOUND,
                   "%s, %s: %d rows of logits within %.2g" % (name, what, len(worst), largest))
        print("#   %s" % stats, flush=True)


# ---- What must be found --------------------------------------------------------------------

def payload(data, tag, number):
    """Where the bytes of the record with this tag and number begin, and how many they are."""
    at = 0
    while at < len(data):
        n = int.from_bytes(data[at + 28:at + 32], "little")
        if data[at:at + 4] == tag:
            if not number:
                return at + 32, n
            number -= 1
        at += 32 + n
    raise ValueError("no such record")


def plant_code(data):
    """One code of the third product, not the largest of its block, three steps off."""
    at, _ = payload(data, b"OPND", 2)
    code = next(i for i in range(at + 4, at + 36) if abs(int(np.int8(np.uint8(data[i])))) < 100)
    data[code] = (data[code] + 3) & 255


def plant_scale(data):
    """One scale of an activation, a thousandth off."""
    at, _ = payload(data, b"OPND", 1)
    d = np.frombuffer(bytes(data[at:at + 4]), "<f4") * np.float32(1.001)
    data[at:at + 4] = d.tobytes()


def plant_swap(data):
    """Two rows of a product, each for the other."""
    at, n = payload(data, b"OPND", 0)
    row = n // PROMPT
    data[at:at + 2 * row] = data[at + row:at + 2 * row] + data[at:at + row]


def plant_key(data):
    """The largest bit of the fraction of a key."""
    data[payload(data, b"KEYS", 1)[0] + 1] ^= 2


def plant_logit(data):
    """One logit 0.002 off."""
    at, _ = payload(data, b"LOGT", 3)
    data[at:at + 4] = (np.frombuffer(bytes(data[at:at + 4]), "<f4") + np.float32(0.002)).tobytes()


def plant_end(data):
    """A record that was cut off."""
    del data[payload(data, b"LOGT", 5)[0]:]


def found(model, path, plant=None):
    """What the comparison says of a record in which @plant changed something; None: nothing."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    if plant:
        plant(data)
    changed = path + ".changed"
    with open(changed, "wb") as f:
        f.write(data)
    try:
        worst = np.max(differences(model, changed)[0])
    except Mismatch as e:
        return str(e).replace(changed, "the record")
    return None if worst <= BOUND else "logits differ by %.2g" % worst


def scaled(path, out, name):
    """A copy of a Q8_0 model; the scale of one block of a matrix is half as large again there."""
    shutil.copyfile(path, out)
    g = Gguf(path)
    at = g.base + g.tensors[name][2]
    with open(out, "r+b") as f:
        f.seek(at)
        d = np.frombuffer(f.read(2), "<f2") * np.float16(1.5)
        f.seek(at)
        f.write(d.astype("<f2").tobytes())
    return out


PLANTED = ((plant_code, "a rounded value"), (plant_scale, "before rounding"),
           (plant_swap, "before rounding"), (plant_key, "in the cache"),
           (plant_logit, "logits differ"), (plant_end, "ends within"))
# The first operand that a wrong weight reaches.
SCALED = (("blk.0.attn_v.weight", "blk.0.attn: a value in the cache"),
          ("blk.1.ffn_gate.weight", "blk.1.ffn_down"),
          ("blk.2.ffn_down.weight", "output"), ("output.weight", "logits differ"))


def check_checks(tap, tool, folder):
    path, out = random_model(folder, "tiny-llama", "Q8_0", "Q8_0", {}), os.path.join(folder, "own")
    model = Model(Gguf(path))
    record(tool, path, out, VOCAB)
    tap.result(found(model, out) is None, "nothing is found where nothing was planted")
    for plant, want in PLANTED:
        text = found(model, out, plant)
        tap.result(text and want in text, "planted: %s; found: %s" % (plant.__doc__.strip('.'), text))
    for name, want in SCALED:
        other = scaled(path, os.path.join(folder, "scaled.gguf"), name)
        text = found(Model(Gguf(other)), out)
        tap.result(text and want in text, "planted: one scale of %s; found: %s" % (name, text))


def main():
    tool, tap = os.path.abspath(sys.argv[1]), Tap()
    with tempfile.TemporaryDirectory() as folder:
        for case in RANDOM:
            path = random_model(folder, *case)
            check(tap, tool, path, folder)
            os.unlink(path)
        for path in sorted(glob.glob(os.path.join(ROOT, "models/*.gguf"))) + \
                [os.path.join(MODELS, "stories15M-Q8_0.gguf")]:
            if os.path.exists(path):
                check(tap, tool, path, folder)
            else:
                tap.skip("no %s; NPU_TEST_MODELS names the folder that has it" % path)
        check_checks(tap, tool, folder)
    print("1..%d" % tap.n)
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
