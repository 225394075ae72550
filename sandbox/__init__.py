"""Stand-ins that speak the venues' real wire protocols over HTTP, and what the demo needs around them."""
