"""What is in a data set, before anything is trained on it: facts, findings and proposed settings as a page and JSON."""
