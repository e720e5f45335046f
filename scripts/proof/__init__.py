"""What ``scripts/prove`` proves: a section tries something, counts, and holds the counts to what is promised."""
