"""All pairs of a gallery that score a threshold or more: exact as a set, tile by tile.

    block       the faces of one part of a gallery
    grid        which tiles, pairs of blocks, a sweep is made of
    kernel      what multiplies two blocks and says which pairs may score enough
    blas        a kernel of numpy: float32 on processors
    torch_tiles kernels of torch: bfloat16 or float32, on processors and GPUs
    triton_tiles a tile in one pass of a GPU
    choose      which kernel a machine is best served by
    certificate by how much a kernel's scores may be off
    sieve       the best of what a kernel names, in bounded memory
    truth       scores as float64 has them
    tile        one tile: a kernel's candidates, scored again in float64

Pure arithmetic on arrays: where blocks come from, and who works on which tile, is `serve`'s.
"""
