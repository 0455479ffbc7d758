"""Trained models as ONNX files, which run without Python and without torch: in a browser, in C++, on a telephone."""
