"""All pairs of a gallery that score a threshold or more: exact as a set, tile by tile.

    block       the faces of one part of a gallery
    grid        which tiles, pairs of blocks, a sweep is made of
    kernel      what multiplies two blocks and says which pairs may score enough
    blas        a kernel of numpy: float32 on processors
    torch_tiles a kernel of torch: bfloat16 or float32, on processors and GPUs
    tile        one tile: a kernel's candidates, scored again in float64

Pure arithmetic on arrays: where blocks come from, and who works on which tile, is `serve`'s.
"""
