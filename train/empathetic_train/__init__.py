"""Trains and evaluates the emotion classifier: GoEmotions in, a checkpoint directory and a results directory out."""
