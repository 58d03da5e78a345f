"""Mining Supervision."""
