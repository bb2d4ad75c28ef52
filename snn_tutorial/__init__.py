"""What the chapters show with: the page itself, plots, probes, timing."""

try:
    from snn_tutorial.page import load_results, print_versions, save_results, show, show_gif
except ModuleNotFoundError as error:
    message = f"snn_tutorial needs the package {error.name}: pip install 'snn-core[notebooks]'"
    raise ImportError(message) from None

__all__ = ["load_results", "print_versions", "save_results", "show", "show_gif"]
