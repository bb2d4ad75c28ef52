"""Answers of chapter 05."""

from __future__ import annotations

from snn_tutorial.exercises import Exercise

EXERCISES = {
    "05.1": Exercise(
        right=85,
        hint="the number of parameters is 39 h + 10; which h comes closest to 3,338?",
        mistakes=[
            (86, "3,364 parameters are 26 too many; is one neuron less closer?"),
            (64, "twice the neurons are not the same number of parameters: count weights and biases."),
        ],
        because="85 neurons have 3,325 parameters, 13 fewer; 86 have 26 more.",
    ),
    "05.2": Exercise(
        right=lambda a: 0.01 < a < 0.6,
        hint="compare, image by image, whether each network is right, and take the mean of where they differ.",
        mistakes=[
            (lambda a: a > 1, "that is a number of images; divide it by how many there are."),
            (lambda a: a == 0, "both networks have the same seed, and so are the same network."),
            (lambda a: a >= 0.6, "that is the fraction on which they agree."),
            (lambda a: a <= 0.01, "that is a difference of accuracies; compare image by image."),
        ],
        because="Two seeds of one network already differ in that many images.",
    ),
    "05.3": Exercise(
        right=[0.04, 0.52],
        hint="draw 25 squares; mark the 18 and 19 that are right, overlapping as much, then as little, as possible.",
        mistakes=[
            ([0.52, 0.04], "first the smallest, then the largest."),
            ([0, 0.52], "if they were right on the same images, their accuracies would be equal."),
            ([0.04, 0.28], "where the first is right and the second wrong; the other way round counts too."),
            ([0.04, 0.48], "that is the fraction on which both must be right."),
        ],
        because="The accuracies alone leave everything from 4 % to 52 % open.",
        tolerance=1e-3,
    ),
    "05.4": Exercise(
        right=lambda a: 0.2 <= a < 20,
        hint="train with `order` set in both places, and take 100 times the difference of the last test accuracies.",
        mistakes=[
            (lambda a: abs(a) < 0.2, "in points, not as a fraction: multiply by 100."),
            (lambda a: a < 0, "rows minus columns; and does the configuration know the order too?"),
        ],
        because="With the stable recipe of chapter 07 all three networks gain from rows too.",
    ),
}
