"""What predictions become on disk, and how such files are scored."""
