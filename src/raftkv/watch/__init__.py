"""Who waits for which change. Pure: it names watchers and bytes, it sends nothing."""
