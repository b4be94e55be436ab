"""1:N face search: exact, in memory, one writer and any number of readers, apart by gallery.

    entry     what the log of faces says: a face came, or its owner went
    arena     the templates of one gallery and one model, searched while they change
    shard     the arenas of some partitions, and how far their log has been followed

Derived state: the log (`serve.store`) is the record, and a shard is rebuilt from it. Nothing here
knows of Redis, of Ray, or of what a tenant is.
"""
