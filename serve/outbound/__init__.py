"""Other people's servers: signed callbacks, to public addresses only."""
