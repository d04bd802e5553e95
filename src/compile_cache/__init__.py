"""A compile cache that is not wrong: MindSpore's own, with a key that covers everything, and a probe.

MindSpore's cache looks at source files and input shapes alone: it serves the graph of another dilation, and graphs that
are compiled in another order change places. Here an entry belongs to one graph and is named by a digest of what shapes
it (`key.py`, `fingerprint.py`); files are kept in `entries.py`; `probe.py` runs every served graph on fixed values and
compares with what the compiled one had calculated; `cache.py` puts them together.

Vocabulary
    entry       a folder with one compiled graph, its manifest and its probe
    key         what shapes a graph, as plain values; its digest names the entry
    probe       a call of a graph with fixed inputs and fixed parameters, whose outcome is compared bit by bit
"""
