"""Nested slice sampling with blackjax, in as much memory as there is.

``kernel`` turns a target into blackjax's kernel, whose particles are updated in chunks; ``loop``
advances it on the device in blocks of steps; ``dead`` turns dead points into evidence and weights;
``run`` puts the three together. ``programs`` says how much memory its programs need.
"""

from tengri_ppl.inference.nested.programs import program_bytes
from tengri_ppl.inference.nested.run import NSSOptions, run_nss

__all__ = ["NSSOptions", "program_bytes", "run_nss"]
