"""The service. A request comes down these floors, and its answer goes back up.

    api         parse and bound the input, authenticate, call one flow, render
    flows       one use case: read ports, ask pure rules, write ports
    inference   the models, asked through one bounded queue
    domain      the rules: triggers, states, attempts, reactions, callbacks
    store       one Redis script for every change, with its answer and its callback
    outbound    the signed callback, from the worker process

`cli` and `processes` start it, `app` decides which adapter stands behind which port.
"""

__version__ = "0.1.0"
