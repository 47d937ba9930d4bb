"""Hash functions on tensors: no Keras, no variables, stock ops only."""
