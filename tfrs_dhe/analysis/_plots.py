"""Pictures without pyplot: no window, no state that other code may share."""

from pathlib import Path
from typing import Any

_DPI = 120


class Plotted:
    """A result with a picture, which `_draw` makes."""

    def plot(self, path: str | Path, title: str | None = None) -> tuple[Path, Path]:
        """Draws the result, as its class says; PNG and SVG.

        Args:
          path: Where to, with or without one of the two endings. Folders are made.
          title: Above the picture, in place of its own.

        Returns:
          The two paths.

        Raises:
          ImportError: If matplotlib is not installed.
        """
        return save(self._draw(title), path)

    def _draw(self, title: str | None) -> Any:
        """Returns the figure."""
        raise NotImplementedError


def new_figure(width: float = 7.0, height: float = 3.8) -> Any:
    """Returns an empty matplotlib figure, its size in inches.

    Raises:
      ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib: pip install 'tfrs-dhe[analysis]'. Everything else "
            "of `tfrs_dhe.analysis` works without it."
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def abbreviate(*axes: Any) -> None:
    """Writes the numbers of an axis of matplotlib as 10k, 2M."""
    from matplotlib.ticker import EngFormatter

    for axis in axes:
        axis.set_major_formatter(EngFormatter(sep=""))


def legend_below(*axes: Any, ncols: int = 2) -> None:
    """Puts legends below axes of matplotlib, where they hide nothing."""
    for one in axes:
        one.legend(
            fontsize="small",
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            ncols=ncols,
        )


def save(figure: Any, path: str | Path) -> tuple[Path, Path]:
    """Writes a figure as PNG and as SVG.

    Args:
      figure: Of matplotlib.
      path: Where to, with or without one of the two endings. Folders are made.

    Returns:
      The two paths.
    """
    import matplotlib

    path = Path(path)
    if path.suffix in (".png", ".svg"):
        path = path.with_suffix("")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names that merely contain a dot keep it.
    png, svg = (path.with_name(f"{path.name}.{kind}") for kind in ("png", "svg"))
    figure.savefig(png, dpi=_DPI)
    # Without date and random names, so that equal figures give equal files.
    with matplotlib.rc_context({"svg.hashsalt": "tfrs_dhe"}):
        figure.savefig(svg, metadata={"Date": None})
    return png, svg
