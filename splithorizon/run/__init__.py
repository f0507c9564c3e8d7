"""One run: its options, its mesh, its verdict, its report."""
