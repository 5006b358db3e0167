"""What fills the terminal: widgets arranged, keys turned into calls. One screen a file."""
