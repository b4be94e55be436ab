"""What a session asks of a person, and how a stream of frames is spoken. Pure."""
