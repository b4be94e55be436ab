"""Pure rules of the service: plain values in, plain values out; no clock, no chance, no I/O."""
