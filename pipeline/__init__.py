"""Evidence and verdict: photos in, evidence out; evidence and policy in, verdict out.

bytes -> `image.header` -> `image.decode` -> `face.detect` -> `face.mesh` -> `face.align` ->
`face.embed`, `image.quality`, `image.feedback`, `face.age`, `face.liveness` (all driven by
`face.steps`, a whole batch at once) -> `evidence` -> `decision.verdict`. Pure apart from
`models` (ONNX sessions, files, downloads), `image.decode` and `image.geometry` (codecs, warps).
"""
