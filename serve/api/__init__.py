"""HTTP: parse and bound the input, authenticate, call one flow, render."""
