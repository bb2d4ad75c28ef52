"""Every figure of the collection, one module for each subject.

A function that draws returns a matplotlib figure and writes nothing; :func:`~snn_tutorial.page.show` turns it into a
picture for a notebook.
"""
