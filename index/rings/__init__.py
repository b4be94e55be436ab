"""Rings: customers who are likely one person, or one gang's faces, grown so that chance does not
chain them.

    edges     who is like whom, how much, and what else they share; and what rings are
    grow      rings out of edges: strong ones join, weak ones need support, negative ones forbid
    keep      rings kept up to date as edges come and go: the same as grown at once
    graph     all ties; who is a hub, a bad template that looks like everybody
    unit      what is known of a few customers whom ties connect
    join      groups of a unit that are rings, and the guard on their sizes
    explain   why a ring is one: its tree, bridges, weakest link, what it would be at other bars

Pure: no Redis, no clock, no chance; the same edges in any order give the same rings.
"""
