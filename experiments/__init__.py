"""The ablation behind chapter 07: many small trainings, kept one by one, and what they say with intervals."""
