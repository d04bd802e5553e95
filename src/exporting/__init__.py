"""Export: MindIR, AIR and ONNX files that run elsewhere, with their preprocessing as data beside them."""
