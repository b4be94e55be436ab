"""The room where images meet the models, and the engine that is such a room."""
