# SPDX-License-Identifier: MIT
"""A SentencePiece-style BPE tokenizer with byte fallback, as GGUF "llama" stores it.

Encoding follows the rule of that format: a space in front, spaces written as
U+2581, then merge the adjacent pair whose joined text is the piece of highest
score until none is left; what is no piece becomes bytes.  Pieces carry U+2581
only in front and never a newline, so encoding word by word gives the same
tokens as encoding the whole text, and words can be cached.
"""
import collections
import heapq
import json
import re

SPACE = "\u2581"
UNK, BOS, EOS, FIRST_BYTE = 0, 1, 2, 3
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6      # GGUF token types

# Training only: keeps words, numbers and punctuation in pieces of their own.
UNIT = re.compile(SPACE + r"?[A-Za-z]+(?:'(?:s|t|ll|re|ve|d|m)\b)?|" +
                  SPACE + r"?[0-9]|" + SPACE + r"?[^A-Za-z0-9\s" + SPACE + r"]+|" + SPACE)


class Tokenizer:
    def __init__(self, tokens, scores, types):
        self.tokens, self.scores, self.types = tokens, scores, types
        self.ids = {t: i for i, t in enumerate(tokens) if types[i] == NORMAL}
        self.cache = {}

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"tokens": self.tokens, "scores": self.scores, "types": self.types}, f)

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as f:
            return cls(**json.load(f))

    def _encode_word(self, word):
        parts = list(word)
        while True:
            best, at = None, -1
            for i in range(len(parts) - 1):
                j = self.ids.get(parts[i] + parts[i + 1])
                if j is not None and (best is None or self.scores[j] > best):
                    best, at = self.scores[j], i
            if at < 0:
                break
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
        out = []
        for p in parts:
            if p in self.ids:
                out.append(self.ids[p])
            else:
                out += [FIRST_BYTE + b for b in p.encode()]
        return out

    def encode(self, text, space_in_front=True):
        text = (" " if space_in_front else "") + text
        out = []
        for word in re.findall(r"\n| ?[^ \n]+| ", text):
            ids = self.cache.get(word)
            if ids is None:
                ids = self.cache[word] = self._encode_word(word.replace(" ", SPACE))
            out += ids
        return out

    def decode(self, ids):
        data = b""
        for i in ids:
            if self.types[i] == BYTE:
                data += bytes([i - FIRST_BYTE])
            elif self.types[i] == NORMAL:
                data += self.tokens[i].replace(SPACE, " ").encode()
        text = data.decode("utf-8", "replace")
        return text[1:] if text.startswith(" ") else text


def train(documents, size, min_char_count=200):
    """Byte-pair merges by count, ties broken by text so that a run repeats."""
    units, chars = collections.Counter(), collections.Counter()
    for doc in documents:
        for line in doc.split("\n"):
            units.update(UNIT.findall(line.replace(" ", SPACE)))
    for unit, n in units.items():
        for c in unit:
            chars[c] += n
    alphabet = sorted((c for c in chars if chars[c] >= min_char_count),
                      key=lambda c: (-chars[c], c))
    known = set(alphabet)
    words = [[list(u), n] for u, n in units.items() if all(c in known for c in u)]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for w, (parts, n) in enumerate(words):
        for p in zip(parts, parts[1:]):
            pairs[p] += n
            where[p].add(w)
    heap = [(-n, p) for p, n in pairs.items()]
    heapq.heapify(heap)
    merges, seen = [], set()
    n_merges = size - FIRST_BYTE - 256 - len(alphabet)
    while len(merges) < n_merges:
        n, p = heapq.heappop(heap)
        if pairs[p] != -n:
            if pairs[p] > 0:
                heapq.heappush(heap, (-pairs[p], p))
            continue
        piece = p[0] + p[1]
        if piece not in seen:
            seen.add(piece)
            merges.append(piece)
        changed = set()
        for w in where.pop(p):
            parts, n = words[w]
            i = 0
            for q in zip(parts, parts[1:]):
                pairs[q] -= n
            while i < len(parts) - 1:
                if (parts[i], parts[i + 1]) == p:
                    parts[i:i + 2] = [piece]
                i += 1
            for q in zip(parts, parts[1:]):
                pairs[q] += n
                where[q].add(w)
                changed.add(q)
        pairs.pop(p, None)
        for q in changed:
            heapq.heappush(heap, (-pairs[q], q))
    tokens = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256
    scores = [0.0] * len(tokens)
    for i, t in enumerate(merges + alphabet):
        tokens.append(t)
        types.append(NORMAL)
        scores.append(-float(i + 1))
    assert len(tokens) == size and len(set(tokens)) == size
    return Tokenizer(tokens, scores, types)
