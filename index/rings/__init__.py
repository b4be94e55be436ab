"""Rings: customers who are likely one person, or one gang's faces, grown so that chance does not
chain them.

    edges     who is like whom, how much, and what else they share
    grow      rings out of edges: strong ones join, weak ones need support, negative ones forbid
    explain   why a ring is one: its tree, bridges, weakest link, what it would be at other bars
    keep      rings kept up to date as edges come and go: the same as grown at once

Pure: no Redis, no clock, no chance; the same edges in any order give the same rings.
"""
