"""Language models as analysts: they propose, and nothing they say is believed unchecked."""
