"""What is measured: pure functions of fields, and the files they end up in."""
