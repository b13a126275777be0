"""InternVL2: checkpoint, prompt, network, generation."""
