"""What the app knows and may do, apart from how it looks: pure state fed by messages. No Textual, no I/O, no clock."""
