"""What the three TensorFlow.js models of the default pack are converted to.

Normalisation is that of the package they come from, which feeds the detector -1 to 1, the mesh
0 to 1 and the age model 0 to 255.
"""

from pipeline.models.convert.tfjs_onnx import ConversionSpec, Output

# Anchors run row by row: two for each 16-px cell, then six for each 32-px cell. `boxes` holds
# centre x and y (from the cell's centre), width, height, then six key points x, y, all in px of
# the input. `logits` are scores before their sigmoid. Sides are multiples of 32 px.
BLAZEFACE = ConversionSpec(
    name="blazeface",
    outputs=(
        Output("boxes", ("Identity_2", "Identity_3"), ("N", "anchors", 16)),
        Output("logits", ("Identity", "Identity_1"), ("N", "anchors", 1)),
    ),
    scale=1 / 127.5,
    offset=-1.0,
    free_sides=True,
)

# `mesh` holds x, y, z of 468 points in px of the 192-px input; `presence` is 0 to 1, the sigmoid
# applied.
FACEMESH = ConversionSpec(
    name="facemesh",
    outputs=(
        Output("mesh", ("Identity_2",), ("N", 1404)),
        Output("presence", ("Identity_1",), ("N", 1)),
    ),
    scale=1 / 255,
)

# `age_probabilities` sum to 1 over the years 0 to 99.
FACERES = ConversionSpec(
    name="faceres",
    outputs=(Output("age_probabilities", ("age_pred/Softmax",), ("N", 100)),),
    scale=1.0,
)
