"""The fast path: a benchmark's samples through one model, picture by picture, resumable."""
