"""What a bare machine lacks: a virtual environment and an engine. Standard library only, as it runs before both."""
