"""Draw with matplotlib, as SVG that takes its colours from the page (extra `report`).

Every plot of this package is drawn here: the scatter plots of a report and the lab's curves.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from spy_plugin.errors import MissingDependencyError, SpyBenchError
from spy_plugin.files.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Box = tuple[float, float, float, float]
"""Left, bottom, width and height of the axes, as shares of the drawing."""


class Colors:
    """The page's colours by their CSS value, such as ``var(--line)`` or ``currentColor``.

    matplotlib wants numbers, so each value is drawn in a colour of its own, which `embed` replaces.
    """

    def __init__(self) -> None:
        self._placeholders: dict[str, str] = {}

    def __getitem__(self, css: str) -> str:
        """Return the colour to draw with."""
        return self._placeholders.setdefault(css, f"#01{len(self._placeholders):04x}")

    def embed(self, svg: str) -> str:
        """Return the drawing in the page's own colours."""
        for css, placeholder in self._placeholders.items():
            svg = svg.replace(placeholder, css)
        return svg


class PrintColors(Colors):
    """The page's light colours as numbers, for drawings that stand alone."""

    VALUES: ClassVar[Mapping[str, str]] = {
        "currentColor": "#20242a",
        "var(--muted)": "#6b7178",
        "var(--line)": "#e5e1d8",
        "var(--series-1)": "#13706a",
        "var(--series-2)": "#b4532a",
        "var(--series-3)": "#5b5fa8",
        "var(--series-4)": "#8a6d1d",
    }

    def __getitem__(self, css: str) -> str:
        """Return the colour to draw with."""
        return self.VALUES[css]


INK, MUTED, LINE = "currentColor", "var(--muted)", "var(--line)"
PNG_DPI = 200
Plot = Callable[["Axes", Colors], None]


def draw(
    plot: Plot,
    *,
    name: str,
    title: str = "",
    description: str = "",
    size: tuple[float, float],
    box: Box,
) -> str:
    """Draw one set of axes.

    Args:
        plot: Draws into the axes, in colours of `Colors`.
        name: Makes the ids inside the drawing unique on its page.
        size: Width and height in inches; the page scales the drawing.
        title, description: What the drawing shows, for readers who cannot see it; without a title
            it is decoration.

    Returns:
        An ``<svg>`` element. Whatever the plot writes in it is escaped.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        SpyBenchError: its settings are wrong.
    """
    colors = Colors()
    with _drawing(plot, colors, name, size, box) as drawing:
        out = io.StringIO()
        drawing.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return colors.embed(_element(out.getvalue(), name, title, description))


def draw_files(plot: Plot, *, name: str, size: tuple[float, float], box: Box) -> dict[str, bytes]:
    """Draw one set of axes on white, for a paper: the content of a file by its suffix.

    Raises:
        MissingDependencyError, SpyBenchError: as `draw`.
    """
    found = {}
    with _drawing(plot, PrintColors(), name, size, box) as drawing:
        for suffix, metadata in ((".svg", {"Date": None}), (".png", {})):
            out = io.BytesIO()
            drawing.savefig(out, format=suffix[1:], dpi=PNG_DPI, metadata=metadata)
            found[suffix] = out.getvalue()
    return found


@contextmanager
def _drawing(
    plot: Plot, colors: Colors, name: str, size: tuple[float, float], box: Box
) -> Iterator[Figure]:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "report") from error
    except ValueError as error:  # it reads its settings as it is imported
        raise SpyBenchError(
            f"matplotlib does not start ({one_line(error)}). Fix MPLBACKEND or its matplotlibrc."
        ) from error
    # Text stays text; the salt makes ids of clip paths and markers those of this drawing.
    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9}),
        warnings.catch_warnings(),
    ):
        # A model's name may be in a script that its fonts lack; an .svg's text has the reader's.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ ")
        drawing = Figure(figsize=size)
        plot(drawing.add_axes(box), colors)
        yield drawing


def style(axes: Axes, colors: Colors, *, x: str, y: str = "") -> None:
    """Give axes the look of all plots: titles, a faint grid, no frame."""
    axes.set_xlabel(x, color=colors[MUTED])
    axes.set_ylabel(y, color=colors[MUTED])
    axes.tick_params(color=colors[LINE], labelcolor=colors[MUTED], length=0)
    axes.grid(color=colors[LINE], linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _element(svg: str, name: str, title: str, description: str) -> str:
    """Return the bare element, scalable and named, with classes where matplotlib repeats ids."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    head, rest = svg.split(">", 1)
    head = re.sub(r' (?:width|height|xmlns(?::\w+)?)="[^"]*"', "", head)
    rest = rest.replace("xlink:href", "href")
    rest = re.sub(r'<g id="([^"]*)"', r'<g class="\1"', rest)
    rest = re.sub(r"font: ([\d.]+)px[^;\"]*", r"font-size: \1px", rest)
    if not title:
        return f'{head} aria-hidden="true">{rest}'
    names = f'<title id="{name}-title">{html.escape(title)}</title>'
    ids = f"{name}-title"
    if description:
        names += f'<desc id="{name}-desc">{html.escape(description)}</desc>'
        ids += f" {name}-desc"
    return f'{head} role="img" aria-labelledby="{ids}">{names}{rest}'
