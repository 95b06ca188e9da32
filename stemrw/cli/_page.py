"""A `Difference` as one HTML page that needs nothing else: for a reviewer to read, keep, print and sign off.

No script, no font, no image, nothing fetched; a policy in its head forbids it even if something slipped in.  Every
text goes through `_text`, which escapes it for HTML and for the eye (control and bidirectional characters are shown as
codes).
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence

from stemrw.cli._render import region_name, returned_value
from stemrw.cli._review import (
    ANSWERS,
    IDENTICAL,
    TO_JUDGE,
    change_row,
    entry_parts,
    entry_title,
    file_rows,
    rule_sentence,
)
from stemrw.documents.difference import CodeLine, Difference, PatchedEntry
from stemrw.documents.plan import PlannedRegion
from stemrw.text import printable

_SHOWN = 64
"""Bytes of a changed range that its row shows."""
_MARKS = {"ok": "✓", "failed": "✗", "skipped": "–", "differs": "≠"}

_STYLE = """
:root { color-scheme: light dark;
  --paper: #fff; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --card: #f6f8fa;
  --good: #1a7f37; --good-paper: #dafbe1; --warn: #7d4e00; --warn-paper: #fff3cd; --bad: #b3261e; --bad-paper: #ffe3e0;
  --old: #ffebe9; --new: #dcffe4; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #0d1117; --ink: #e6edf3; --soft: #9aa4af; --line: #30363d; --card: #161b22;
  --good: #56d364; --good-paper: #12261a; --warn: #e3b341; --warn-paper: #2b2211; --bad: #ff8a80; --bad-paper: #341517;
  --old: #3a1a1d; --new: #14301e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1.25rem; overflow-wrap: anywhere; }
h1 small { display: block; font-size: .95rem; font-weight: 400; color: var(--soft); }
h2 { font-size: 1.15rem; margin: 2.75rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h4 { font-size: .8rem; font-weight: 600; color: var(--soft); margin: .75rem 0 .25rem; }
p { margin: .5rem 0; max-width: 50rem; }
code, pre, .code { font-size: .86em;
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.answer { border-left: .4rem solid; border-radius: .3rem; padding: .9rem 1.2rem; margin: 0 0 1rem; }
.answer p { margin: .2rem 0 0; color: var(--ink); }
.answer strong { font-size: 1.25rem; }
.accounted { background: var(--good-paper); border-color: var(--good); color: var(--good); }
.accounted-not-rebuilt { background: var(--warn-paper); border-color: var(--warn); color: var(--warn); }
.unaccounted { background: var(--bad-paper); border-color: var(--bad); color: var(--bad); }
.checks { list-style: none; margin: 0; padding: 0; }
.checks li { display: grid; grid-template-columns: 1.5rem 6.5rem 1fr; gap: .25rem; padding: .3rem 0;
  border-bottom: 1px solid var(--line); }
.checks b { font-weight: 600; }
.ok { color: var(--good); } .failed { color: var(--bad); } .skipped, .differs { color: var(--warn); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .8rem; white-space: nowrap; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.number { text-align: right; white-space: nowrap; }
td.nowrap { white-space: nowrap; } td.any { overflow-wrap: anywhere; min-width: 9rem; }
tr.unknown td { background: var(--bad-paper); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem 1.2rem;
  margin: 0 0 1rem; break-inside: avoid; }
.card ul { margin: .25rem 0; padding-left: 1.2rem; }
.returned { font-weight: 600; }
.sides { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 1.5rem; }
pre { margin: 0; padding: .5rem .7rem; overflow-x: auto; border: 1px solid var(--line); border-radius: .3rem;
  background: var(--paper); line-height: 1.5; }
pre.before { background: var(--old); } pre.after { background: var(--new); }
pre .at { color: var(--soft); } pre .raw { color: var(--soft); }
.any { overflow-wrap: anywhere; }
.sign { display: grid; grid-template-columns: 2fr 1fr 2fr; gap: 1.5rem; max-width: 50rem; }
.sign div { border-top: 1px solid var(--soft); color: var(--soft); font-size: .8rem; margin-top: 3rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 46rem) { body { padding: 1.25rem 1rem 3rem; } .sides { grid-template-columns: minmax(0, 1fr); }
  .checks li { grid-template-columns: 1.5rem 1fr; } .checks li span:last-child { grid-column: 2; }
  table.stack thead { position: absolute; clip-path: inset(50%); }
  table.stack tr { display: block; border-bottom: 1px solid var(--line); padding: .5rem 0; }
  table.stack td { display: flex; gap: .75rem; border: 0; padding: .1rem 0; text-align: left; white-space: normal;
    overflow-wrap: anywhere; min-width: 0; }
  table.stack td::before { content: attr(data-name); flex: 0 0 5.5rem; color: var(--soft);
    font: .8rem/1.6 system-ui, Arial, sans-serif; }
  table.stack td:empty { display: none; }
  table.stack td[data-name=""] { font-weight: 600; } table.stack td[data-name=""]::before { display: none; } }
@media print { body { max-width: none; padding: 0; font-size: 11px; } pre { white-space: pre-wrap; } }
"""


def page(difference: Difference) -> str:
    """The whole page: same difference, same text."""
    title = f"{_name(difference.hardened.path)}: review of a hardened file"
    body = "\n".join(_body(difference))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _body(difference: Difference) -> Iterator[str]:
    word, sentence = ANSWERS[difference.verdict]
    yield "<header>"
    yield f"<h1>{_text(_name(difference.hardened.path))}<small>what hardening changed in this file</small></h1>"
    yield f'<div class="answer {difference.verdict}">Can this be signed off?<br><strong>{_text(word)}</strong>'
    yield f"<p>{_text(sentence[:1].upper() + sentence[1:])}.</p></div>"
    if difference.accounted:
        yield f"<p>{_text(TO_JUDGE)}</p>"
    yield "</header>\n<main>"
    yield '<h2>Checks</h2>\n<ul class="checks">'
    for check in difference.checks:
        mark = f'<span class="{check.outcome}" title="{check.outcome}">{_MARKS[check.outcome]}</span>'
        yield f"<li>{mark}<b>{check.name}</b><span>{_text(check.text)}</span></li>"
    yield "</ul>"
    yield "<h2>Files</h2>"
    yield from _table(("", "original", "hardened"), file_rows(difference), {"": "nowrap", **_ANY})
    yield f"<h2>Regions ({len(difference.regions)})</h2>"
    yield "<p>On a fault in one of these functions what it did is undone, and it returns.</p>"
    for region in difference.regions:
        yield from _region(region)
    if difference.rules:
        yield "<h3>Rules of the whole file</h3>"
        yield from (f"<p>{_text(rule_sentence(rule))}</p>" for rule in difference.rules)
    yield f"<h2>Changed bytes of the original ({len(difference.changes)} ranges)</h2>"
    unknown = [not change.accounted for change in difference.changes]
    columns = ("offset", "address", "size", "what", "original", "hardened")
    rows = (change_row(change, _SHOWN) for change in difference.changes)
    kinds = {**_PLACE, "what": "nowrap", "original": "code any", "hardened": "code any"}
    yield from _table(columns, rows, kinds, unknown)
    yield f"<p>{IDENTICAL.format(difference.identical)}</p>"
    yield f"<h2>Code before and after ({len(difference.entries)} entries)</h2>"
    for entry in difference.entries:
        yield from _entry(entry)
    yield "<h2>Appended behind the original</h2>"
    appended = (
        (hex(a.offset), hex(a.address) if a.address is not None else "", f"{a.size:,}", a.what)
        for a in difference.appended
    )
    yield from _table(("offset", "address", "size", "what"), appended, _PLACE)
    yield "<h2>Program and section headers</h2>"
    headers = [(f"{h.table} {h.index}", h.before or "(none)", h.after or "(none)") for h in difference.headers]
    yield from _table(("header", "original", "hardened"), headers, {"header": "nowrap", **_ANY})
    if difference.accounted:
        yield from _sign_off(difference)
    made = f"hardened by stemrw {_text(difference.made_by)}, " if difference.made_by else ""
    yield f"</main>\n<footer>{made}compared by stemrw {_text(difference.tool_version)}</footer>"


def _sign_off(difference: Difference) -> Iterator[str]:
    yield "<h2>Sign-off</h2>"
    yield f'<p>For the hardened file with sha256 <span class="code any">{difference.hardened.sha256}</span>:</p>'
    yield '<div class="sign"><div>name</div><div>date</div><div>signature</div></div>'


_ANY = {"original": "any", "hardened": "any"}
_PLACE = {"offset": "code", "address": "code", "size": "number"}


def _region(region: PlannedRegion) -> Iterator[str]:
    yield f'<section class="card"><h3>{_text(region_name(region))}, {region.size} bytes</h3>'
    yield f'<p class="returned">A rescue returns {_text(returned_value(region))}.</p>'
    sentences = [*region.why, *(f"the value: {text}" for text in region.return_evidence)]
    if region.check_address is not None:
        fault = region.check_class or "fault"
        sentences.append(f"the reported fault: at {region.check_address:#x} ({fault})")
    sentences += map(rule_sentence, region.rules)
    if sentences:
        yield "<ul>" + "".join(f"<li>{_text(sentence)}</li>" for sentence in sentences) + "</ul>"
    yield "</section>"


def _entry(entry: PatchedEntry) -> Iterator[str]:
    yield f'<section class="card"><h3>{_text(entry_title(entry))}</h3><div class="sides">'
    for title, lines in entry_parts(entry):
        kind = title if title in ("before", "after") else "moved"
        yield f'<div><h4>{_text(title)}</h4><pre class="{kind}">{_code(lines)}</pre></div>'
    yield "</div></section>"


def _code(lines: Sequence[CodeLine]) -> str:
    width = max((len(line.code) for line in lines), default=0)
    return "\n".join(
        f'<span class="at">{line.address:x}</span>  <span class="raw">{line.code.ljust(width)}</span>  '
        f"{_text(line.text)}"
        for line in lines
    )


def _table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], kinds: dict[str, str], marked: Sequence[bool] = ()
) -> Iterator[str]:
    """`kinds` gives the class of a column's cells; `marked` says which rows are not accounted for."""
    kind = {name: f' class="{kinds[name]}"' if name in kinds else "" for name in columns}
    number = [name for name in columns if kinds.get(name) == "number"]
    yield '<div class="scroll"><table class="stack"><thead><tr>'
    yield "".join(f"<th{kind[name] if name in number else ''}>{_text(name)}</th>" for name in columns)
    yield "</tr></thead><tbody>"
    for i, row in enumerate(rows):
        cells = zip(columns, row, strict=True)
        shown = "".join(f'<td{kind[name]} data-name="{_text(name)}">{_text(cell)}</td>' for name, cell in cells)
        row_class = ' class="unknown"' if marked and marked[i] else ""
        yield f"<tr{row_class}>{shown}</tr>"
    yield "</tbody></table></div>"


def _name(path: str | None) -> str:
    return (path or "").rstrip("/").rpartition("/")[2] or "a file"


def _text(text: str) -> str:
    return html.escape(printable(text))
