"""MindSeg. Importing this package sets one environment switch and nothing else.

MindSpore 2.10's CPU wheel picks a reference kernel for most convolutions on AVX-512 machines; a training step takes
about thirty times as long as with the kernel that it picks when oneDNN may use AVX2 at most. The other instruction
sets and hints are no faster than AVX2 on a processor of either kind (`benchmarks/cpu_isa.py`). The switch is read when
`mindspore` is imported, so it has to be set here, before any import order can miss it. A value that the user has set
is kept, under oneDNN's earlier name, too.
"""
import os

os.environ.setdefault("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "AVX2"))
