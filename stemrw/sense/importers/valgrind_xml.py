"""Memcheck's XML (--xml=yes).

Read as it comes: what was written before valgrind was killed counts.  Neither entities nor depth may cost anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from stemrw.errors import DocumentError
from stemrw.sense.importers import memcheck
from stemrw.sense.importers.memcheck import Message
from stemrw.sense.importers.seen import MOST, Finding, Seen, Source, Surroundings

_DEEPEST = 16
_CHUNK = 1 << 16


def read(text: str) -> Source:
    """All errors of the document.  Raises DocumentError: not memcheck's."""
    findings: list[Finding] = []
    exe, arguments, pid = None, tuple[str, ...](), None
    for element in _parts(text):
        if element.tag == "tool" and element.text != "memcheck":
            raise DocumentError("this is the output of another valgrind tool", hint="only memcheck's is read")
        if element.tag == "pid":
            pid = _number(element.text, 10)
        elif element.tag == "args":
            exe = element.findtext("argv/exe")
            arguments = tuple(each.text or "" for each in element.findall("argv/arg"))
        elif element.tag in ("error", "fatal_signal") and len(findings) < MOST:
            findings.append(memcheck.finding(_message(element)))
    command = (exe, *arguments) if exe else ()
    return Source(
        memcheck.TOOL, memcheck.merged(findings), Surroundings(command=command, pid=pid, usual=memcheck.USUAL)
    )


def _parts(text: str) -> Iterator[Element]:
    """The elements right below the outermost one, until the document ends or is damaged."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DocumentError("valgrind writes no document type: this is not its XML")
    parser: Any = ElementTree.XMLPullParser(("start", "end"))
    depth = 0
    outermost: Element | None = None
    for at in range(0, len(text), _CHUNK):
        try:
            parser.feed(text[at : at + _CHUNK])
            for event, element in parser.read_events():
                depth += 1 if event == "start" else -1
                outermost = element if outermost is None else outermost
                if depth > _DEEPEST:
                    raise DocumentError("elements are nested deeper than valgrind's")
                if event == "end" and depth == 1:
                    yield element
                    outermost.clear()  # or a long document would take much memory
        except ElementTree.ParseError:
            return


def _message(element: Element) -> Message:
    """An <error> or <fatal_signal>: the first <stack> is its own, later ones belong to the <auxwhat> before them."""
    message = Message(kind=element.tag, tid=_number(element.findtext("tid"), 10))
    for part in element:
        text = part.text or ""
        if part.tag == "kind":
            message.kind = text
        elif part.tag == "what" or part.tag == "event":
            message.what = text
        elif part.tag in ("xwhat", "xauxwhat"):
            inner = part.findtext("text") or ""
            if part.tag == "xwhat":
                message.what = inner
            else:
                message.more.append((inner, []))
        elif part.tag == "auxwhat":
            message.more.append((text, []))
        elif part.tag == "stack":
            frames = [_frame(frame) for frame in part.findall("frame")]
            if not message.stack and not message.more:
                message.stack = frames
            elif message.more:
                message.more[-1][1].extend(frames)
        elif part.tag == "signame":
            message.signal = text
        elif part.tag == "sicode":
            message.si_code = _number(text, 10)
        elif part.tag == "siaddr":
            message.address = _number(text, 16)
    return message


def _frame(element: Element) -> Seen:
    return Seen(
        pc=_number(element.findtext("ip"), 16),
        symbol=element.findtext("fn") or None,
        module=element.findtext("obj") or None,
    )


def _number(text: str | None, base: int) -> int | None:
    """None where it is none, or not one of 64 bits."""
    try:
        value = int((text or "")[:20], base)
    except ValueError:
        return None
    return value if -(1 << 31) <= value < 1 << 64 else None
