"""From a network to files that run elsewhere: MindIR, AIR, ONNX, and the input recipe as data beside them."""
