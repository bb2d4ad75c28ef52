"""What the chapters show with: plots, widgets, probes, timing, linear readers."""
