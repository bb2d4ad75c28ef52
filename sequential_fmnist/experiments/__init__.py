"""Many runs, kept one by one, and what they say with intervals: the evidence behind chapters 07 and 08."""
