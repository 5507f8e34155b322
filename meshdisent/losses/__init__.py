"""Loss terms: pure functions of tensors that give one number each."""
