"""A page as an HTML parser sees it: its elements, and the text in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

# Elements without an end tag.
_VOID = frozenset({"meta", "link", "br", "hr", "img", "input", "base"})


@dataclass
class Element:
    """An element with its attributes, and its texts and elements in their order."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, tag: str = "", **attributes: str) -> Iterator[Element]:
        """The elements in it with this tag and these attributes; ``class_`` asks for one of the classes."""
        for child in self.children:
            if isinstance(child, Element):
                if (not tag or child.tag == tag) and child._has(attributes):
                    yield child
                yield from child.all(tag, **attributes)

    def _has(self, attributes: dict[str, str]) -> bool:
        own = self.attributes
        return all(
            value in own.get("class", "").split() if name == "class_" else own.get(name) == value
            for name, value in attributes.items()
        )


class _Parser(HTMLParser):
    """Builds the elements; an end tag that closes another element than the last is an error."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        if len(element.attributes) != len(attrs):
            raise ValueError(f"<{tag}> has an attribute twice")
        self._open[-1].children.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if self._open[-1].tag != tag:
            raise ValueError(f"</{tag}> closes <{self._open[-1].tag}> at {self.getpos()}")
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def parse(page: str) -> Element:
    """The root of a page. Raises ValueError for elements that are not closed as they were opened."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    if len(parser._open) != 1:
        raise ValueError(f"<{parser._open[-1].tag}> is not closed")
    return parser.root
