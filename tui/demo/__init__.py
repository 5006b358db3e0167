"""What `orbit demo` runs on: invented reports, and the stage around them."""
