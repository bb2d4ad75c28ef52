"""Time snn_core against other libraries: ``make bench``. What is compared, and how, is said in throughput.py."""
