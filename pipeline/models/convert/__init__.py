"""Readers of foreign model files and writers of ONNX: untrusted bytes in, checked graphs out."""
