"""A fair start: what can each kind of memory do, given the distance or not?"""
