"""The whole service as its users meet it: real processes, real Redis, real models, real HTTP."""
