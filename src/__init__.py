"""MindSeg. Importing this package sets one environment switch and nothing else.

MindSpore 2.10's CPU wheel picks a reference kernel for most convolutions on AVX-512 machines, which is 50 to 90 times
slower than the one that it picks when oneDNN may use AVX2 at most. The switch is read when `mindspore` is imported, so
it has to be set here, before any import order can miss it. A value that the user has set is kept.
"""
import os

os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
