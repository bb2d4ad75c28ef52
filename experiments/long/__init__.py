"""How long is long? Tasks in which memory is all there is to do, and networks with one kind of memory each."""
