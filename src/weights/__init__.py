"""Published weights, read and written: file formats, parameter names by family, loading with a report.

No module here knows the models.
"""
