"""Importers: one file for each labelling tool or published data set, which become VOC's or COCO's folders.

Vocabulary
    format      what a tool exports, a row of `table.py`
    picture     one image of a source with its annotation, in the frame in which it was annotated
    layout      "coco" (instances) or "voc" (label maps): the folders that training reads
    report      what was taken, changed and not taken

`run.py` reads pictures with a format, splits them (`split.py`, `similar.py`) and writes a layout. No MindSpore here.
"""
