"""A self-contained HTML page: text, tables and pictures in one file that needs no network."""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Any

from adntn_ref.extras import need

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 1160px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; }
h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; } figure.small img { max-width: min(100%, 640px); }
th:first-child, td:first-child { text-align: left; } th { background: #f4f5f7; }
tr.own td { background: #eef4fb; font-weight: 600; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; }
figcaption, .note { color: #555; font-size: .88rem; }
.scroll { overflow-x: auto; } pre { background: #f6f7f8; padding: .7rem; overflow-x: auto; font-size: .82rem; }
"""


class Page:
    """A page that is written from the top down."""

    def __init__(self, title: str, subtitle: str) -> None:
        self.title = title
        self.parts = [f"<h1>{escape(title)}</h1>", f'<p class="note">{escape(subtitle)}</p>']

    def heading(self, text: str) -> None:
        """Begin a section."""
        self.parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self.parts.append(f'<p class="note">{escape(text)}</p>')

    def preformatted(self, text: str) -> None:
        """Add text as it stands."""
        self.parts.append(f"<pre>{escape(text)}</pre>")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], own: int | None = None) -> None:
        """Add a table; ``own`` is the row that is set off."""
        head = "".join(f"<th>{escape(column)}</th>" for column in columns)
        body = ""
        for k, row in enumerate(rows):
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
            opening = '<tr class="own">' if k == own else "<tr>"
            body += f"{opening}{cells}</tr>\n"
        self.parts.append(
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )

    def figure(self, figure: Any, caption: str, small: bool = False) -> None:
        """Add a matplotlib figure as SVG, in an image of its own so that no two share identifiers."""
        opening = '<figure class="small">' if small else "<figure>"
        data = base64.b64encode(svg_of(figure)).decode()
        image = f'<img alt="{escape(caption)}" src="data:image/svg+xml;base64,{data}">'
        inside = f'<div class="scroll">{image}</div><figcaption>{escape(caption)}</figcaption>'
        self.parts.append(f"{opening}{inside}</figure>")

    def __str__(self) -> str:
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        head += f"<title>{escape(self.title)}</title><style>{STYLE}</style>"
        body = "\n".join(self.parts)
        return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def svg_of(figure: Any) -> bytes:
    """Return a figure as SVG; the same figure gives the same bytes."""
    stream = BytesIO()
    with need("matplotlib", "demo").rc_context({"svg.hashsalt": "adntn_ref"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
