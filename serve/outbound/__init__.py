"""What goes out: signed callbacks, to public addresses only; and what a phone does on a stream."""
