"""InternVL2: checkpoint, prompt, network, generation."""

# By name: importing the source needs packages that only inference has.
MODELS = {"checkpoint": "evalkit.models.internvl2.source:InternVL2Source"}
