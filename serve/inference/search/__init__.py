"""The index behind its port: held in this process, by shards of a cluster, or not at all."""
