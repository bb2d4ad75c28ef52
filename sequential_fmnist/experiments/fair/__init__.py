"""A fair start: what can each kind of memory do, told how long or not?"""
