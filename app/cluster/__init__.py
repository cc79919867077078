"""Several processes over one Redis: session ends, rooms, presence, device changes."""
