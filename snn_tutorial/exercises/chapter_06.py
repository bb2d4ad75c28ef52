"""Answers of chapter 06: one update."""

from __future__ import annotations

from snn_tutorial.exercises import Between, Exercise

EXERCISES: dict[str, Exercise] = {
    "06.1": Exercise(
        right=9,
        hint="without a gradient the buffer is 0.9 times what it was, and the weight moves by it: 0.9, 0.81, ...",
        mistakes=[
            (10, "that counts the update itself, too."),
            (0.9, "that is the first of the further steps."),
            (0, "the gradient is zero; the buffer is not."),
        ],
        because="0.9 + 0.81 + ... = 0.9 / (1 - 0.9).",
        tolerance=1e-3,
    ),
    "06.2": Exercise(
        right=Between(0.05, 0.3),
        hint="load the state as in section 1, call backward, and subtract 10 lr times each weight's gradient from it.",
        mistakes=[
            (Between(0.35, 0.6), "that is the learning rate itself; take ten times as much."),
            (Between(0.65, 0.9), "the weights have not moved, or against the wrong gradient."),
            (Between(10, 90), "as a share, from 0 to 1."),
        ],
        because="ten times the step is as far as momentum moves the weights in the end.",
    ),
    "06.3": Exercise(
        right=13,
        hint="gradient_back returns the gradient of each step; where does its norm, from the last step back, reach 1?",
        mistakes=[
            (12, "in this step the norm is above 1 already."),
            (15, "count from the first step, not from the last one."),
            (27, "many more steps are safe: look at the norm of each."),
        ],
        because="what reaches a step does not depend on what is done to earlier ones.",
    ),
}
