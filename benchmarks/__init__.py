"""Time snn_core against other libraries: ``make bench``. docs/benchmarks.md says what is compared, and how."""
