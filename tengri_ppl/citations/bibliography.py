"""The references that ship with the package, read from ``references.bib``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["Reference", "find_references", "load_references"]

_FILE = Path(__file__).with_name("references.bib")
_ENTRY = re.compile(r"^@(\w+)\{([^,\s]+),\n(.*?)^\}", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)
#: TeX accents and the combining characters that they stand for.
_ACCENTS = {
    "'": "\u0301",
    "`": "\u0300",
    '"': "\u0308",
    "^": "\u0302",
    "~": "\u0303",
    "v": "\u030c",
}


@dataclass(frozen=True, eq=False)
class Reference:
    """One entry of the bibliography.

    Attributes
    ----------
    kind : str
        ``"article"``, ``"book"``, ``"misc"`` or ``"software"``.
    key : str
        Key, for example ``"Calzetti2000"``.
    fields : mapping
        Field -> value, as TeX.
    """

    kind: str
    key: str
    fields: Mapping[str, str]

    @property
    def short(self) -> str:
        """The reference as in running text: ``"Calzetti et al. 2000, ApJ 533, 682"``."""
        return f"{self._names()} {self.fields['year']}, {self._place()}"

    def bibtex(self) -> str:
        """Return the entry; software takes the version that is installed."""
        fields = dict(self.fields)
        package = fields.pop("package", None)
        if package is not None:
            fields["version"] = _version(package)
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])

    def is_named_in(self, text: str) -> bool:
        """Tell whether a text names this paper by key, arXiv number, or year, volume and page."""
        if "eprint" in self.fields and self.fields["eprint"] in text:
            return True
        needed = [self.fields.get(name, "") for name in ("year", "volume", "pages")]
        if not all(needed):
            return text == self.key
        year, volume, page = needed
        place = rf"\b{volume},? {re.escape(page)}\b"
        return text == self.key or (year in text and re.search(place, text) is not None)

    def _names(self) -> str:
        """Return the first author, or two, in plain text."""
        names = self.fields["author"].split(" and ")
        last = [_plain(name if name.startswith("{{") else name.split(",")[0]) for name in names]
        last = [name.strip() for name in last]
        return f"{last[0]} et al." if len(last) > 2 else " & ".join(last)

    def _place(self) -> str:
        """Return where it was published, in plain text."""
        fields = self.fields
        if "journal" in fields:
            return _plain(f"{fields['journal']} {fields['volume']}, {fields['pages']}")
        if "eprint" in fields:
            return f"arXiv:{fields['eprint']}"
        return _plain(fields["title"])


@lru_cache
def load_references() -> dict[str, Reference]:
    """Return all references by key, in the order of the file."""
    entries = _ENTRY.findall(_FILE.read_text(encoding="utf-8"))
    return {key: Reference(kind, key, dict(_FIELD.findall(body))) for kind, key, body in entries}


def find_references(text: str) -> tuple[Reference, ...]:
    """Return the references that a text names; see :meth:`Reference.is_named_in`.

    Parameters
    ----------
    text : str
        A key, or free text from a user's file: ``"Draine & Li 2007, ApJ 657, 810"``.
    """
    known = load_references()
    if text in known:
        return (known[text],)
    return tuple(reference for reference in known.values() if reference.is_named_in(text))


def _plain(tex: str) -> str:
    """Turn TeX into plain text."""

    def accented(match: re.Match[str]) -> str:
        return unicodedata.normalize("NFC", match[2] + _ACCENTS[match[1]])

    text = tex.replace(r"\l", "ł")
    text = re.sub(r"\\(['`\"^~v])\{?(\w)\}?", accented, text)
    return re.sub(r"[{}\\]", "", text)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
