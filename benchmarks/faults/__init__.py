"""How often `deeplimit diagnose` finds a fault that was put into a trained network, and how often it sees one where there is none."""
