"""Model packs: obtained from pinned sources, converted, verified, cached, loaded."""
