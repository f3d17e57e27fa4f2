# SPDX-License-Identifier: MIT
"""Cleans the training text and splits it into training and held-out documents.

The input is UTF-8 text, one block per chapter or story, each block ended by a
line "<|endoftext|>".  The output keeps one block per document, paragraphs as
single lines, without headings, notes and page numbers.
"""
import collections
import hashlib
import lzma
import re

END = "<|endoftext|>"
HELD_OUT_PER_1000 = 25

# Documents that are apparatus, not stories.
APPARATUS = re.compile(
    r"^(contents|list of|illustrations|transcriber|notes|preface|introduction|"
    r"to the reader|author's note|household tales by)|"
    r"\b(source|parallels|remarks)\.--", re.I)
PAGE_START = re.compile(r"^\d{1,3}(?=\s)")
INLINE_NOTE = re.compile(r"\[\d+\]|\(\d+\)|\[\*+\]|(?<=\w)\*+")
NOTE_LINE = re.compile(r"^\s*(\[|\(\d+\)|\*|\(from the )", re.I)
CAPS = re.compile(r"\b[A-Z]{2,}\b")
ROMAN = re.compile(r"^[IVXLC]+$")
ENDS_SENTENCE = re.compile(r"[.!?:;,\-]['\")]*$")


def read_documents(path):
    opener = lzma.open if path.endswith(".xz") else open
    with opener(path, "rt", encoding="utf-8") as f:
        blocks = f.read().split(END + "\n")
    return [b.strip() for b in blocks if b.strip()]


def join_pages(documents):
    """One book comes as one block per printed page: join such runs."""
    joined, last_was_page = [], False
    for doc in documents:
        page = bool(PAGE_START.match(doc)) and len(doc) < 1600
        doc = PAGE_START.sub("", doc).strip() if page else doc
        if page and last_was_page:
            # A page usually ends in the middle of a sentence.
            glue = "\n\n" if ENDS_SENTENCE.search(joined[-1]) else " "
            joined[-1] += glue + doc
        else:
            joined.append(doc)
        last_was_page = page
    return joined


def is_heading(line):
    if re.match(r"(chapter|book|part|story) ([ivxlc]+|\d+|[a-z\-]+)\b", line, re.I) \
            and len(line) < 120:
        return True
    return len(line) < 90 and not ENDS_SENTENCE.search(line) \
        or bool(re.match(r"^([IVXLC]+|\d+)\.? ", line)) and len(line) < 90 \
        or line.isupper()


def lower_caps(text, case_of):
    """Writes emphasis and small capitals (VERY, ONCE upon) as plain words."""
    def plain(m):
        word = m.group()
        if ROMAN.match(word) and word not in ("I", "DID", "MILD", "CIVIL"):
            return word
        lower = word.lower()
        before = text[:m.start()].rstrip(" '\"(-")
        starts = not before or before[-1] in ".!?\n"
        return lower.capitalize() if starts or case_of[lower] else lower
    return CAPS.sub(plain, text)


def clean(doc, case_of):
    lines = [re.sub(r"\s+", " ", l).strip() for l in doc.split("\n")]
    lines = [l for l in lines if l]
    for _ in range(3):
        if len(lines) > 1 and is_heading(lines[0]):
            lines.pop(0)
    out = []
    for line in lines:
        if NOTE_LINE.match(line) or re.search(r"\d{2,}.*\d{2,}", line):
            continue
        if re.fullmatch(r"[\W\d_]*", line):
            continue
        line = INLINE_NOTE.sub("", line)
        line = re.sub(r"[|_{}^~=+<>\\#]", "", line)
        line = re.sub(r"\s+([,.;:!?])", r"\1", line)
        line = re.sub(r"\s+", " ", line).strip()
        if line:
            out.append(lower_caps(line, case_of))
    return "\n".join(out)


def is_held_out(doc):
    """Depends on the document alone, so that the split never moves."""
    return int(hashlib.sha256(doc.encode()).hexdigest(), 16) % 1000 < HELD_OUT_PER_1000


def load(path):
    """Returns (training documents, held-out documents)."""
    raw = join_pages(read_documents(path))
    upper, lower = collections.Counter(), collections.Counter()
    for doc in raw:
        for word in re.findall(r"[A-Za-z]+", doc):
            if word.islower():
                lower[word] += 1
            elif word[1:].islower():
                upper[word.lower()] += 1
    case_of = {w: upper[w] > lower[w] for w in upper}
    case_of = collections.defaultdict(bool, case_of)
    train, held = [], []
    for doc in raw:
        if APPARATUS.search(doc[:400]):
            continue
        text = clean(doc, case_of)
        digits = sum(c.isdigit() or c in "[]&/" for c in text)
        if len(text) < 500 or digits > 0.004 * len(text):
            continue
        (held if is_held_out(text) else train).append(text)
    return train, held
