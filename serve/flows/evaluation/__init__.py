"""Error rates on labelled pairs of photos: read the pairs, compare, count."""
