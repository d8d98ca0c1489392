"""The bar chart of docs/benchmarks.md: requests per second, a panel for each workload,
each on its own linear scale that starts at zero.
"""

from html import escape
from typing import Any

from server import RSCORE
from summary import NOISE, noise
from table import counted, rate, ratio
from workloads import by_name

WIDTH = 780
LABELS = 268
VALUES = 130
BAR = 20
GAP = 8
PANEL_TITLE = 34
PANEL_GAP = 22
MARGIN = 20

INK = "#1f2328"
FAINT = "#59636e"
RULE = "#d1d9e0"
OURS = "#0b6bcb"
THEIRS = "#9aa4af"


def draw(results: dict[str, Any]) -> str:
    """The chart as SVG."""
    parts: list[str] = []
    y = MARGIN + 16
    parts.append(text(MARGIN, y, "Requests per second", 17, INK, "600"))
    y += 20
    machine = results["machine"]
    about = (
        f"{machine['cores']} cores shared by load generator, server and R; rscore with TLS and JWT, its peers without;"
        f" medians over {counted(results['rounds'], 'round')}"
    )
    parts.append(text(MARGIN, y, about, 12, FAINT))
    y += 17
    parts.append(text(MARGIN, y, "in parentheses: times the best other R server", 12, FAINT))
    if noise(results) > NOISE:
        y += 17
        doubt = f"doubtful: other processes took up to {100 * noise(results):.0f} % of the cores meanwhile"
        parts.append(text(MARGIN, y, doubt, 12, INK, "600"))
    y += 14
    for name, table in results["summary"].items():
        y += PANEL_TITLE - 8
        parts.append(text(MARGIN, y, by_name(name).title, 14, INK, "600"))
        y += 12
        top = y
        most = max(row["requests_per_second"] for row in table.values())
        for key, row in table.items():
            server = results["servers"][key]
            value = row["requests_per_second"]
            length = max(1.0, (WIDTH - 2 * MARGIN - LABELS - VALUES) * value / most) if most else 1.0
            ours = server["kind"] == RSCORE
            left = MARGIN + LABELS
            parts.append(text(left - 8, y + 14, server["title"], 12.5, INK if ours else FAINT, anchor="end"))
            parts.append(
                f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{OURS if ours else THEIRS}"/>'
            )
            label = rate(value) + (f" ({ratio(row['ratio'])})" if ours and row["ratio"] is not None else "")
            parts.append(text(left + length + 6, y + 14, label, 12.5, INK, "600" if ours else "400"))
            y += BAR + GAP
        axis = MARGIN + LABELS
        parts.append(f'<line x1="{axis}" y1="{top - 3}" x2="{axis}" y2="{y - GAP + 3}" stroke="{RULE}"/>')
        y += PANEL_GAP - GAP
    height = y + MARGIN - PANEL_GAP + GAP
    title = "Requests per second of rscore and other servers, by workload"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        f' font-family="system-ui, sans-serif" role="img" aria-label="{title}">',
        f"<title>{title}</title>",
        # White, so that it can be read on a dark page too.
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *parts,
        "</svg>",
        "",
    ])  # fmt: skip


def text(x: float, y: float, content: str, size: float, colour: str, weight: str = "400", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" font-size="{size}" fill="{colour}" font-weight="{weight}"'
        f' text-anchor="{anchor}">{escape(content)}</text>'
    )
