"""What one needs to go on after a failure: objects, events, logs and proxies' state, collected while they are there."""
