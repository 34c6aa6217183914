"""What the commands lay over Ray."""
