"""A document as Markdown, or as one HTML file that needs nothing else and prints on A4. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from cloud.alerts import reportchart
from cloud.alerts.document import Cell, Chart, Document, Table

_NARROW: Final = 3
"""So many columns fit on a phone side by side; the rows of wider tables become cards."""

_TIME: Final = re.compile(r"(\d\d-\d\d )?\d\d:\d\d:\d\d")

STYLE: Final = """
@page { size: A4; margin: 15mm }
:root { --ink: #17202a; --paper: #fff; --soft: #4a5561; --line: #d5dae0; --curve: #0b5cad;
  --red: #c62828; --orange: #b35000; --yellow: #7a6000; --blue: #1565c0 }
@media screen and (prefers-color-scheme: dark) {
  :root { color-scheme: dark; --ink: #eef1f4; --paper: #14181c; --soft: #b3bcc6; --line: #39424c;
    --curve: #7ab8ff; --red: #ff7a70; --orange: #ffa04d; --yellow: #ffd54a; --blue: #9cc9ff }
}
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body { margin: 0 auto; max-width: 52rem; padding: 1rem; color: var(--ink); background: var(--paper);
  font-family: system-ui, "Noto Sans CJK SC", "Noto Sans SC", sans-serif; font-size: .9rem;
  line-height: 1.45; word-break: break-word; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .8rem }
h2 { font-size: 1.1rem; margin: 1.4rem 0 .4rem; padding-bottom: .2rem;
  border-bottom: 2px solid var(--ink); break-after: avoid }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 600; color: var(--soft) }
th, td { padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; min-width: 3.2em }
.at { word-break: keep-all; overflow-wrap: normal }
tr { break-inside: avoid }
thead { display: table-header-group }
.facts td:first-child { width: 9rem; color: var(--soft) }
.red, .orange, .yellow, .blue { font-weight: 600 }
.red { color: var(--red) } .orange { color: var(--orange) } .yellow { color: var(--yellow) }
.blue { color: var(--blue) }
figure { margin: 1rem 0; break-inside: avoid }
figcaption { font-weight: 600 }
@media screen and (max-width: 40rem) {
  body { font-size: 1rem; padding: .8rem }
  .facts td:first-child { width: 6.5rem }
  .few td, .few th { padding-right: .4rem; min-width: 2.6em }
  .many thead { display: none }
  .many, .many tbody, .many tr, .many td { display: block }
  .many tr { border-bottom: 2px solid var(--line); padding: .4rem 0 }
  .many td { border: 0; padding: .1rem 0 .1rem 8.5rem; min-height: 1.5em; position: relative }
  .many td:first-child { font-weight: 600 }
  .many td::before { content: attr(data-label); position: absolute; left: 0; width: 8rem;
    color: var(--soft); font-weight: 400 }
}
@media screen and (max-width: 20rem) {
  .facts, .facts tbody, .facts tr, .facts td, .few, .few tbody, .few tr, .few td { display: block }
  .few thead { display: none }
  .facts td:first-child { width: auto; border: 0 }
  .few td { border: 0; padding: 0 } .few tr { border-bottom: 2px solid var(--line) }
  .many td { padding-left: 0 } .many td::before { position: static; display: block }
}
@media print { body { padding: 0; max-width: none; font-size: 10pt } }
"""


def markdown(document: Document) -> str:
    """The document without its charts: the tables have what is in them."""
    lines = [f"# {document.title}"]
    for section in document.sections:
        lines.append(f"\n## {section.title}")
        for part in section.parts:
            if isinstance(part, Table):
                lines += ["", *_rows(part)]
            elif isinstance(part, str):
                lines += ["", _plain(part)]
    return "\n".join(lines) + "\n"


def html(document: Document) -> str:
    """The whole page."""
    tongue = "zh-CN" if document.language == "zh" else "en"
    title = escape(document.title)
    body = []
    for section in document.sections:
        body.append(f"<section><h2>{escape(section.title)}</h2>")
        for part in section.parts:
            if isinstance(part, Table):
                body.append(_table(part))
            elif isinstance(part, Chart):
                body.append(reportchart.svg(part, document.zone))
            else:
                body.append(f"<p>{escape(part)}</p>")
        body.append("</section>")
    return f"""<!doctype html>
<html lang="{tongue}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title><style>{STYLE}{reportchart.STYLE}</style></head>
<body><h1>{title}</h1>
{chr(10).join(body)}
</body></html>
"""


def _table(table: Table) -> str:
    """With the roles of a table, which its rows keep where they are shown as cards."""
    plain = not any(table.head)
    labels = [escape(text) for text in table.head]
    columns = "".join(f'<th scope="col" role="columnheader">{label}</th>' for label in labels)
    head = "" if plain else f'<thead role="rowgroup"><tr role="row">{columns}</tr></thead>'
    rows = "".join(f'<tr role="row">{_cells(row, labels)}</tr>' for row in table.rows)
    kind = "facts" if plain else "many" if len(table.head) > _NARROW else "few"
    return f'<table class="{kind}" role="table">{head}<tbody role="rowgroup">{rows}</tbody></table>'


def _cells(cells: Iterable[Cell], labels: Sequence[str]) -> str:
    made = []
    for cell, label in zip(cells, labels, strict=False):
        kind = cell.level or ("at" if _TIME.fullmatch(cell.text) else "")
        level = f' class="{kind}"' if kind else ""
        named = f' data-label="{label}"' if label else ""
        made.append(f'<td role="cell"{level}{named}>{escape(cell.text)}</td>')
    return "".join(made)


def _rows(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(map(_plain, table.head))} |"
    yield f"|{' --- |' * len(table.head)}"
    for row in table.rows:
        yield f"| {' | '.join(_plain(cell.text) for cell in row)} |"


def _plain(text: str) -> str:
    """What people have written must not become marks."""
    for mark in "\\|*_`<>[]#":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
