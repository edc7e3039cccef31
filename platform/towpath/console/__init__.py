"""The REST API over the verbs: who asks, whether they may, how often, and every answer as JSON or as a problem."""
