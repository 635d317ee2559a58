"""What `ModelCheckpoint` is made of: when to save, under which name, what to keep, how to find it again."""
