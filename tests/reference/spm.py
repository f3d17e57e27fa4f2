# SPDX-License-Identifier: MIT
"""The "llama" (SentencePiece BPE with byte fallback) tokenizer of a GGUF file."""
import heapq
import re

SPACE = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


class Spm:
    def __init__(self, meta):
        model = meta["tokenizer.ggml.model"]
        if model != "llama":
            raise ValueError("tokenizer %r: only \"llama\" is here; pass --ids" % model)
        self.tokens = meta["tokenizer.ggml.tokens"]
        self.scores = meta["tokenizer.ggml.scores"]
        self.types = meta["tokenizer.ggml.token_type"]
        self.bos = meta.get("tokenizer.ggml.bos_token_id", 1)
        self.eos = meta.get("tokenizer.ggml.eos_token_id", 2)
        self.unk = meta.get("tokenizer.ggml.unknown_token_id", 0)
        self.prefix = meta.get("tokenizer.ggml.add_space_prefix", True)
        self.ids = {}
        for i, t in enumerate(self.tokens):
            self.ids.setdefault(t, i)

    def encode(self, text):
        """Without the begin token.  Merges the adjacent pair of the highest score
        first (the leftmost of equals) until no pair joins to a piece."""
        if not text:
            return []
        text = (" " if self.prefix else "") + text
        part = list(text.replace(" ", SPACE))       # None: merged into its left neighbour
        left = list(range(-1, len(part) - 1))
        right = list(range(1, len(part))) + [-1]
        heap = []

        def offer(i):
            j = right[i] if i >= 0 else -1
            if j >= 0:
                n = self.ids.get(part[i] + part[j])
                if n is not None:
                    heapq.heappush(heap, (-self.scores[n], i, part[i], part[j]))

        for i in range(len(part)):
            offer(i)
        while heap:
            _, i, a, b = heapq.heappop(heap)
            if part[i] != a or right[i] < 0 or part[right[i]] != b:
                continue                            # one of the two was merged meanwhile
            j = right[i]
            part[i], part[j] = a + b, None
            right[i] = right[j]
            if right[j] >= 0:
                left[right[j]] = i
            offer(left[i])
            offer(i)
        out = []
        for p in part:
            if p is None:
                continue
            if p in self.ids:
                out.append(self.ids[p])
            else:
                out += [self.ids.get("<0x%02X>" % b, self.unk) for b in p.encode()]
        return out

    def decode(self, ids, first=True):
        data = b""
        for i in ids:
            m = re.fullmatch("<0x([0-9A-F]{2})>", self.tokens[i])
            if self.types[i] == BYTE and m:
                data += bytes([int(m.group(1), 16)])
            elif self.types[i] in (NORMAL, USER_DEFINED):
                data += self.tokens[i].replace(SPACE, " ").encode()
        text = data.decode("utf-8", "replace")
        return text[1:] if first and self.prefix and text.startswith(" ") else text
