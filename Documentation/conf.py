# SPDX-License-Identifier: MIT
"""Sphinx configuration: the documentation as one site, written as the kernel's."""
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "sphinx"))

project = "OpenNPU"
with open(os.path.join(here, "..", "VERSION"), encoding="utf-8") as f:
    release = version = f.read().strip()
extensions = ["kerneldoc"]
kerneldoc_srctree = os.path.join(here, "..")
exclude_patterns = ["sphinx", "devicetree/bindings"]
root_doc = "index"
html_theme = "alabaster"
html_theme_options = {"page_width": "1100px", "description": "One open interface for edge NPUs"}
html_copy_source = False
highlight_language = "none"
primary_domain = "c"
