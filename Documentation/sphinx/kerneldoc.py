# SPDX-License-Identifier: MIT
"""
The kernel's ``.. kernel-doc:: FILE`` directive for trees outside the kernel.

It understands what this project writes: DOC sections, structures, enumerations
and unions with in-line member comments or ``@member:`` lists, and functions
with parameters and ``Return:``. Inside the kernel tree the same pages are built
by the kernel's own extension.
"""
import os
import re

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList
from sphinx.util.nodes import nested_parse_with_titles

COMMENT = re.compile(r"/\*\*\n(.*?)\*/[ \t]*\n(.*?)(?=/\*\*\n|\Z)", re.S)
MEMBER = re.compile(r"/\*\*\s*@(\w+(?:\.\w+)*):\s*(.*?)\s*\*/", re.S)


def undress(text):
    """The text of a comment without its stars."""
    return [re.sub(r"^\s*\* ?", "", line) for line in text.splitlines()]


def references(text):
    """Marks of kernel-doc as reST."""
    text = re.sub(r"(?<![\w`])@(\w+)", r"*\1*", text)
    text = re.sub(r"(?<![\w`])%(\w+)", r"``\1``", text)
    return re.sub(r"&(?:struct|enum|union) (\w+)", r"``\1``", text)


def split_sections(lines):
    """{'': text, '@x': text, 'Return': text ...}, in order."""
    sections, key = {"": []}, ""
    for line in lines:
        m = re.match(r"(@\w+(?:\.\w+)*|Returns?|Context):\s*(.*)$", line)
        if m:
            key = m.group(1)
            sections[key] = [m.group(2)] if m.group(2) else []
        else:
            sections.setdefault(key, []).append(line.strip() if key.startswith("@") else line)
    return sections


def indent(lines, by):
    return [" " * by + line if line.strip() else "" for line in lines]


def member_list(members):
    out = []
    for name, text in members:
        out += ["``%s``" % name] + indent(references(text).splitlines() or ["(not described)"], 4) + [""]
    return out


def render_doc(title, lines):
    return ["**%s**" % title, ""] + [references(line) for line in lines] + [""]


def render_type(kind, name, brief, lines, code):
    sections = split_sections(lines)
    members = [(k[1:], "\n".join(v).strip()) for k, v in sections.items() if k.startswith("@")]
    body = code[: code.index("};")] if "};" in code else code
    for m in MEMBER.finditer(body):
        members.append((m.group(1), "\n".join(undress(m.group(2))).strip()))
    out = [".. c:%s:: %s" % (kind, name), ""]
    out += indent([references(brief), ""] + [references(x) for x in sections[""]], 3) + [""]
    return out + indent(member_list(members), 3)


def render_function(name, brief, lines, code):
    sections = split_sections(lines)
    proto = re.match(r"\s*(.*?\))\s*(?:[{;]|__)", code, re.S)
    text = re.sub(r"\s+", " ", proto.group(1)) if proto else "void %s(void)" % name
    text = re.sub(r"^(?:static |inline |extern |NPU_API )+", "", text)
    out = [".. c:function:: %s" % text, ""]
    out += indent([references(brief), ""], 3)
    out += indent(member_list([(k[1:], "\n".join(v).strip()) for k, v in sections.items() if k.startswith("@")]), 3)
    out += indent([references(x) for x in sections[""]], 3) + [""]
    for key in ("Context", "Return", "Returns"):
        if key in sections:
            out += indent(["**%s:** " % key + references(" ".join(s.strip() for s in sections[key])), ""], 3)
    return out


def render(path):
    with open(path, encoding="utf-8") as f:
        source = f.read()
    # In-line member comments must not end a block: they are looked for inside it.
    out = []
    for m in COMMENT.finditer(source):
        lines = undress(m.group(1))
        head, rest, code = lines[0].strip(), lines[1:], m.group(2)
        # Blocks of members belong to the type before them.
        if head.startswith("@"):
            continue
        code = source[m.start(2):]
        if head.startswith("DOC:"):
            out += render_doc(head[4:].strip(), rest)
            continue
        t = re.match(r"(struct|enum|union) (\w+)\s*-\s*(.*)$", head)
        if t:
            out += render_type(t.group(1), t.group(2), t.group(3), rest, code)
            continue
        fn = re.match(r"(?:function )?(\w+)(?:\(\))?\s*-\s*(.*)$", head)
        if fn:
            out += render_function(fn.group(1), fn.group(2), rest, code)
    return out


class KernelDoc(Directive):
    required_arguments = 1
    optional_arguments = 0
    option_spec = {"doc": directives.unchanged, "identifiers": directives.unchanged,
                   "internal": directives.flag, "export": directives.unchanged}
    has_content = False

    def run(self):
        env = self.state.document.settings.env
        path = os.path.join(env.config.kerneldoc_srctree, self.arguments[0])
        env.note_dependency(os.path.abspath(path))
        try:
            lines = render(path)
        except OSError as e:
            raise self.error("kernel-doc: %s" % e)
        if not lines:
            raise self.error("kernel-doc: nothing found in %s" % self.arguments[0])
        node = nodes.section()
        node.document = self.state.document
        nested_parse_with_titles(self.state, StringList(lines, self.arguments[0]), node)
        return node.children


def setup(app):
    app.add_config_value("kerneldoc_srctree", None, "env")
    app.add_directive("kernel-doc", KernelDoc)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
