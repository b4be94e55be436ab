"""1:N face search: exact, in memory, one writer and any number of readers, apart by gallery.

    entry     what the log of faces says: a face came, or its owner went
    vector    what is a template, and what is not
    scan      scores of probes against rows: fast in float32 with a bound, and exact
    codes     rows once more in a byte a number, for a first look that misses nobody
    chunks    rows that never move: written once, published by their count, wiped in place
    owners    which rows may be an owner's
    search    one search: scan, widen where that is not certain, look last at who is alive
    arena     the templates of one gallery and one model, searched while they come and go
    shard     the arenas of some partitions, and how far their log has been followed

Derived state: the log (`serve.store`) is the record, and a shard is rebuilt from it. Nothing here
knows of Redis, of Ray, or of what a tenant is.
"""
