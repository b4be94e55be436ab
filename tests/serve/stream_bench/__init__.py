"""The benchmark of streams: its phones, its crowds, its figures, and the whole in short."""
