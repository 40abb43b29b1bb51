"""The checks, one module for each notebook: `exercise_1`, `exercise_2` and so on."""

NOTEBOOKS = (
    "01_devices",
    "02_embeddings",
    "03_embedding_lookup",
    "04_clipping",
    "05_learning_rate",
    "06_regularization",
    "07_save_and_resume",
    "08_model_formats",
    "09_activations",
    "10_your_own_model",
)
