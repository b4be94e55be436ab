"""Where the models run: the `Faces` port over threads of this process, later over Ray."""
