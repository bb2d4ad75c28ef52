"""What the tutorial's text does not have: each module is imported by its own name, and none by this one."""
