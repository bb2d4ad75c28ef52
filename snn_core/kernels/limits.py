"""How much kernels have room for; the source for CUDA gets these numbers as definitions."""

#: Of a cell: states, parameters, and constants of its program.
MOST_STATES, MOST_PARAMETERS, MOST_CONSTANTS = 6, 6, 24
#: Stages that one launch on a GPU takes.
MOST_STAGES = 6
