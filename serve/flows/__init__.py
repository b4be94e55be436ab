"""Use cases: read ports, ask pure rules, write ports. One verb for each module."""
