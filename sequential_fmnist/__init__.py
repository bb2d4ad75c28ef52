"""The experiment of the text: three networks read Fashion-MNIST column by column."""
