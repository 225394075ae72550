"""Pictures for messages: data in, PNG bytes out. Drawn with Pillow and the font it brings, so labels are ASCII."""
