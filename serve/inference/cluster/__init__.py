"""Ray: the only folder that imports it, and only the engine process and its replicas do."""
