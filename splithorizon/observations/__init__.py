"""What a client and its side-car saw of the same requests, joined."""
