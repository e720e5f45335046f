"""Where metadata lives: a URL is opened into a store, the only dispatch by scheme."""
