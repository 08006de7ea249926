"""HTTP routes: they decode requests and encode answers, and decide nothing."""
