"""Answers of chapter 05."""

from __future__ import annotations

from snn_tutorial.exercises import Exercise

EXERCISES = {
    "05.1": Exercise(
        right=[4_001, 6],
        hint="the scale doubles after 2,000 updates without a skip. From which scale on is 0.4 too large?",
        mistakes=[
            ([4_000, 6], "the scale is doubled after update 4,000; the next one is the first to overflow."),
            ([2_001, 7], "131,072 times 0.4 is below 65,504; the scale has to double once more."),
            ([4_001, 1], "after 2,000 updates without a skip the scale doubles again."),
            ([4_001, 10_976], "a skip halves the scale, and then 0.4 fits again."),
        ],
        because="A gradient that never changes is skipped, too.",
    ),
    "05.2": Exercise(
        right=14,
        hint="until the first skip both runs are the same to the last digit.",
        mistakes=[
            (13, "epochs are counted from 1."),
            (15, "it skipped in this epoch, too, but not for the first time."),
            (9, "that is seed 100 or 104; seed 102 is the third of ten."),
        ],
        because="There the two curves differ for the first time.",
    ),
    "05.3": Exercise(
        right=11,
        hint="stats.ttest_ind_from_stats takes means, standard deviations and numbers of seeds.",
        mistakes=[
            (10, "that is with equal variances or ddof=0; Welch's p is still above 0.05."),
            (22, "give the seeds of one arm."),
        ],
        because="With so few a repetition has about an even chance.",
    ),
}
