"""The operator's desk: the pages of the API process for a person with a browser. No scripts, nothing from elsewhere."""
