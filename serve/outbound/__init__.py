"""What goes out: signed callbacks, to public addresses only; and the reference client of a phone."""
