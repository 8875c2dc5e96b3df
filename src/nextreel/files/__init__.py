"""Files that users bring, as events of the contract: recognised, guessed at, read, refused by name."""
