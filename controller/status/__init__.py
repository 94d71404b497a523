"""What the InferenceService's status says, as pure functions of what was observed. Called by ``controller.plan``."""
