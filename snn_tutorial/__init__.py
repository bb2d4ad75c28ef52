"""What the chapters show with: the page itself, plots, probes, timing, linear readers."""

from snn_tutorial.page import load_results, print_versions, save_results, show, show_gif

__all__ = ["load_results", "print_versions", "save_results", "show", "show_gif"]
