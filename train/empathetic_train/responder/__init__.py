"""Trains the project's own reply generator: data, tokenizer, pre-training, supportive fine-tuning, perplexity.

    dialogues, books ─► conversations ─► tokenizer ─► packed rows ─► pre-training ─┐
                              └─► emotions, strategies, names ─► examples ─► fine-tuning ─► model, perplexity

Knows nothing of the classifier's training, but shares its way of configuring a run and of keeping checkpoints.
"""
