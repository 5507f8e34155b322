"""Let Sphinx read our docstrings, where each parameter is one entry: ``name : what it is``.

The NumPy style that napoleon reads has the type on that line and the words below it. Our types stand in the signature,
so the words come at once. Here each ``name : words`` becomes a name with the words below, and a free text under
*Returns* becomes the field that Sphinx prints. A single word after the colon is a type and stays where it is.
"""

import re

_FIELDS = {"Parameters", "Other Parameters", "Raises", "Warns"}
_LISTS = {"Attributes"}
_RESULTS = {"Returns", "Yields"}
_FIELD = re.compile(r"^(?P<name>[\w*.]+(?:, [\w*.]+)*) : (?P<words>\S+ .*)$")


def separate_fields(lines: list[str]) -> list[str]:
    """Docstring lines as napoleon wants them.

    >>> separate_fields(["Parameters", "----------", "path : The file", "    to appear."])
    ['Parameters', '----------', 'path', '    The file', '    to appear.']
    """
    result = []
    for title, body in _sections(lines):
        result += [title, "-" * len(title)] if title else []
        if title in _FIELDS:
            result += _fields(body)
        elif title in _LISTS:
            result += [*_items(body), ""]
        elif title in _RESULTS and not _has_types(body):
            # A field without name and type: all that follows is words.
            result += [":", *(f"    {line}" for line in _items(body)), ""]
        else:
            result += body
    return result


def _fields(body: list[str]) -> list[str]:
    """Names, each with its words below it."""
    lines: list[str] = []
    for line in body:
        field = _FIELD.match(line)
        lines += [field["name"], f"    {field['words']}"] if field else [line]
    return lines


def _sections(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Title and lines of each section; what stands before the first title has the title ''."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        if line.strip() and not line.startswith(" ") and _is_rule(below):
            found.append((line.strip(), []))
        elif not (_is_rule(line) and found[-1][0] and not found[-1][1]):
            found[-1][1].append(line)
    return found


def _is_rule(line: str) -> bool:
    return re.fullmatch(r"-{3,}\s*", line) is not None


def _has_types(body: list[str]) -> bool:
    """Whether results are in napoleon's own form: a type, then indented words."""
    text = [line for line in body if line.strip()]
    return len(text) > 1 and text[1].startswith(" ") and not _FIELD.match(text[0])


def _items(body: list[str]) -> list[str]:
    """The text as it is, or a list of what is named in it."""
    items: list[str] = []
    for line in filter(str.strip, body):
        field = _FIELD.match(line)
        if field:
            items.append(f"* **{field['name']}**: {field['words']}")
        else:
            items.append(f"  {line.strip()}" if line.startswith(" ") and items else line)
    return items


def _process(app, what, name, thing, options, lines):
    lines[:] = separate_fields(lines)


def setup(app):
    """Connect to autodoc ahead of napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True}
