"""Every figure of the collection, one module for each subject.

``python -m snn_tutorial.plot`` draws those that the README shows. A function that draws returns a matplotlib figure and
writes nothing; :func:`~snn_tutorial.page.show` turns a figure into a picture for a notebook.
"""
