# SPDX-License-Identifier: MIT
"""An n-gram model with interpolated Kneser-Ney smoothing, the baseline of the model card.

It counts the same tokens as the network sees.  An n-gram is one 64-bit key,
12 bits per token, so n <= 5 and the vocabulary has at most 4096 tokens.
"""
import numpy as np

BITS = 12


def keys(ids, n):
    """Key of the n-gram that ends at each position i >= n - 1."""
    k = np.zeros(len(ids) - n + 1, np.uint64)
    for j in range(n):
        k = k << np.uint64(BITS) | ids[j:len(ids) - n + 1 + j].astype(np.uint64)
    return k


def lookup(table, values, wanted):
    at = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
    return np.where(table[at] == wanted, values[at], 0)


class KneserNey:
    def __init__(self, ids, order):
        self.order, self.levels = order, []
        full, counts = np.unique(keys(ids, order), return_counts=True)
        grams = {order: (full, counts)}
        for n in range(order - 1, 0, -1):
            # Lower orders count the different tokens seen in front, not occurrences.
            longer = np.unique(keys(ids, n + 1)) if n + 1 != order else full
            grams[n] = np.unique(longer & np.uint64((1 << BITS * n) - 1), return_counts=True)
        for n in range(1, order + 1):
            table, counts = grams[n]
            ones, twos = (counts == 1).sum(), (counts == 2).sum()
            discount = ones / (ones + 2 * twos)
            context, first = np.unique(table >> np.uint64(BITS), return_index=True)
            total = np.add.reduceat(counts, first)
            kinds = np.diff(np.append(first, len(table)))
            self.levels.append((table, counts, discount, context, total, kinds))

    def nats(self, ids):
        """-log p of each token of ids after the first order - 1."""
        p = np.full(len(ids), 1.0 / (1 << BITS))
        for n, (table, counts, discount, context, total, kinds) in enumerate(self.levels, 1):
            k = keys(ids, n)
            here = p[n - 1:]
            tot = lookup(context, total, k >> np.uint64(BITS)).astype(np.float64)
            kin = lookup(context, kinds, k >> np.uint64(BITS))
            c = lookup(table, counts, k)
            seen = tot > 0
            safe = np.where(seen, tot, 1)
            mixed = np.maximum(c - discount, 0) / safe + discount * kin / safe * here
            p = np.concatenate([p[:n - 1], np.where(seen, mixed, here)])
        return -np.log(p)
