"""How much a cell may have in the kernels; ``plan.cu`` has the same numbers."""

MOST_STATES, MOST_PARAMETERS, MOST_CONSTANTS = 6, 6, 24
