"""Two kind clusters on two networks that cannot reach each other's pods."""
