"""A strict reader of BibTeX for tests, independent of the package's."""

import re


def parse(text):
    """Parse @kind{key, name = {balanced braces}, ...}; return [(kind, key, fields), ...]."""
    entries, at = [], 0
    while (at := text.find("@", at)) >= 0:
        head = re.compile(r"@(\w+)\{([^\s,{}]+),\s*").match(text, at)
        assert head, text[at : at + 40]
        at, fields = head.end(), {}
        while text[at] != "}":
            name = re.compile(r"(\w+) = \{").match(text, at)
            assert name, (head[2], text[at : at + 40])
            start = end = name.end()
            depth = 1
            while depth:
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
            assert name[1] not in fields, (head[2], name[1])
            fields[name[1]] = text[start : end - 1]
            after = re.compile(r",\s*").match(text, end)
            assert after, (head[2], name[1])
            at = after.end()
        entries.append((head[1], head[2], fields))
        at += 1
    return entries
